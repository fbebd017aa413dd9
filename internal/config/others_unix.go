//go:build !windows

package config

import (
	"os"
	"path/filepath"
)

// OthersMayRead reports whether every user of this machine can read a file, or
// change it: also by another file in its place, where they may write its folder. The
// file's group is the administrator's choice.
func OthersMayRead(path string) (bool, error) {
	const others, othersWrite = 0o006, 0o002
	info, err := os.Stat(path)
	if err != nil {
		return false, pathless(err)
	}
	folder, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return false, pathless(err)
	}
	// With the sticky bit only its owner may put something in a file's place.
	replaced := folder.Mode()&othersWrite != 0 && folder.Mode()&os.ModeSticky == 0
	return replaced || info.Mode()&others != 0, nil
}
