package config

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"
)

// OthersMayRead reports whether every user of this machine can read a file, or
// change it: whether its access list lets a group in that everybody belongs to.
func OthersMayRead(path string) (bool, error) {
	descriptor, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return false, fmt.Errorf("reading its access list: %w", err)
	}
	list, _, err := descriptor.DACL()
	if err != nil || list == nil {
		return true, nil // no list lets everybody in
	}
	for n := range uint32(list.AceCount) {
		var entry *windows.ACCESS_ALLOWED_ACE
		if err := windows.GetAce(list, n, &entry); err != nil {
			return false, fmt.Errorf("reading its access list: %w", err)
		}
		const reach = windows.FILE_READ_DATA | windows.FILE_WRITE_DATA | windows.GENERIC_READ | windows.GENERIC_WRITE | windows.GENERIC_ALL
		if entry.Header.AceType != windows.ACCESS_ALLOWED_ACE_TYPE || entry.Header.AceFlags&windows.INHERIT_ONLY_ACE != 0 ||
			entry.Mask&reach == 0 {
			continue
		}
		if everybody((*windows.SID)(unsafe.Pointer(&entry.SidStart))) {
			return true, nil
		}
	}
	return false, nil
}

// everybody says whether a group is one that every user of the machine is in.
func everybody(group *windows.SID) bool {
	for _, known := range []windows.WELL_KNOWN_SID_TYPE{
		windows.WinWorldSid, windows.WinAuthenticatedUserSid, windows.WinBuiltinUsersSid,
		windows.WinBuiltinGuestsSid, windows.WinInteractiveSid, windows.WinAnonymousSid,
	} {
		if group.IsWellKnown(known) {
			return true
		}
	}
	return false
}
