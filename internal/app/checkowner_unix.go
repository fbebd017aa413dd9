//go:build unix

package app

import (
	"os"
	"syscall"
)

// ownerOf is the user a file belongs to.
func ownerOf(info os.FileInfo) (uid int, known bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}
