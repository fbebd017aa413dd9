package app

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// peerUID is the user number at the other end of a connection from this machine.
func peerUID(conn net.Conn) (string, error) {
	switch c := conn.(type) {
	case *net.UnixConn:
		return socketUID(c)
	case *net.TCPConn:
		return tcpUID(c)
	}
	return "", errNoUser
}

// socketUID asks the kernel for the credentials of a Unix socket's peer (unix(7), SO_PEERCRED).
func socketUID(c *net.UnixConn) (string, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return "", fmt.Errorf("asking for the peer: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err != nil || credErr != nil {
		return "", errNoUser
	}
	return strconv.FormatUint(uint64(cred.Uid), 10), nil
}

// tcpUID finds the peer's end of a loopback connection in the kernel's table of
// sockets (proc_pid_net(5)). It is looked up once per connection, and only where
// users are told apart.
func tcpUID(c *net.TCPConn) (string, error) {
	peer, err1 := netip.ParseAddrPort(c.RemoteAddr().String())
	own, err2 := netip.ParseAddrPort(c.LocalAddr().String())
	if err1 != nil || err2 != nil || !peer.Addr().IsLoopback() {
		return "", errNoUser
	}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		if uid, err := lookUp(table, peer, own); err == nil {
			return uid, nil
		}
	}
	return "", errNoUser
}

// established is a connection's state as the table has it. Of one that is being
// closed the table shows user 0, whoever it belonged to, and 0 is root.
const established = "01"

// lookUp reads one table for the open connection whose own address is local and
// whose peer is remote.
func lookUp(table string, local, remote netip.AddrPort) (string, error) {
	f, err := os.Open(table)
	if err != nil {
		return "", fmt.Errorf("reading the table of sockets: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// sl, local, remote, state, queues, timer, retransmits, uid, …
		fields := strings.Fields(lines.Text())
		if len(fields) < 8 {
			continue
		}
		if fields[3] == established && sameAddress(fields[1], local) && sameAddress(fields[2], remote) {
			return fields[7], nil
		}
	}
	return "", errNoUser
}

// sameAddress compares an address as the kernel prints it: 32-bit words in the
// machine's byte order, hexadecimal, a colon, the port.
func sameAddress(printed string, want netip.AddrPort) bool {
	address, port, ok := strings.Cut(printed, ":")
	if !ok {
		return false
	}
	number, err := strconv.ParseUint(port, 16, 16)
	if err != nil || uint16(number) != want.Port() {
		return false
	}
	raw, err := hex.DecodeString(address)
	if err != nil || len(raw)%4 != 0 {
		return false
	}
	for word := range slices.Chunk(raw, 4) {
		slices.Reverse(word) // little-endian: amd64 and arm64
	}
	got, ok := netip.AddrFromSlice(raw)
	return ok && got.Unmap() == want.Addr().Unmap()
}
