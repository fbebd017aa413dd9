//go:build !windows

package config

import "os"

// OthersMayRead reports whether every user of this machine can read a file, or
// change it. The file's group is the administrator's choice.
func OthersMayRead(path string) (bool, error) {
	const others = 0o006
	info, err := os.Stat(path)
	if err != nil {
		return false, pathless(err)
	}
	return info.Mode()&others != 0, nil
}
