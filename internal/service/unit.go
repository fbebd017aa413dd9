package service

import (
	"path"
	"strings"
)

// The hardening that works for every service: it needs no rights but those that
// the service gives up. AF_NETLINK is how Go's network package learns addresses.
const hardening = `NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0077
`

// What only the system's own manager can do: a user's may not make file systems
// of its own on every distribution, and such a unit would not start there. A user's
// service also talks to that user's key store, whose socket these would hide.
const systemHardening = `CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RemoveIPC=yes
`

// credential is the env file's name among a service's credentials.
const credential = "sidecar.env"

// Unit is the definition for systemd (systemd.service(5), systemd.exec(5)).
//
// Where no account is named, a system service has a dynamic user, who can read no
// file of the system's administrator; systemd hands it the env file as a credential.
// That needs systemd 250.
func (d Definition) Unit() string {
	var b strings.Builder
	line := func(parts ...string) { b.WriteString(strings.Join(parts, "") + "\n") }
	line("# Written by \"sidecar service install\". Own settings belong into a drop-in:")
	line("# systemctl edit ", d.Name)
	line("[Unit]\nDescription=", displayName)
	if !d.User {
		line("Wants=network-online.target\nAfter=network-online.target nss-lookup.target time-sync.target")
	}
	line("StartLimitIntervalSec=300\nStartLimitBurst=10")
	line("\n[Service]\nType=notify\nNotifyAccess=main\nWatchdogSec=30s")
	words := []string{quoteValue(d.Program)}
	for _, a := range d.arguments("linux") {
		words = append(words, quote(a))
	}
	line("ExecStart=", strings.Join(words, " "))
	dynamic := !d.User && d.Account == ""
	if dynamic {
		line("DynamicUser=yes")
		// No word may hold a blank here (systemd splits at the first colon only).
		line("LoadCredential=", credential, ":", specifiers(d.EnvFile))
		line("Environment=", EnvFileVariable, "=%d/", credential)
	} else {
		line("Environment=", quoteValue(EnvFileVariable+"="+d.EnvFile))
	}
	if d.Account != "" {
		line("User=", d.Account)
	}
	if !d.User {
		line("StateDirectory=", d.Name, "\nStateDirectoryMode=0700")
		line("LogsDirectory=", d.Name, "\nLogsDirectoryMode=0750")
	}
	// What systemd puts in place is not the program's to make.
	if d.LogFile != "" && !d.User && path.Dir(path.Clean(d.LogFile)) != d.logFolder() {
		line("ReadWritePaths=", quoteValue("-"+path.Dir(path.Clean(d.LogFile))))
	}
	// A bad configuration does not become better by trying again; its exit code is 2.
	line("Restart=on-failure\nRestartSec=5s\nRestartPreventExitStatus=2")
	// Open calls may finish; the sidecar asks for more where its longest delay is longer.
	line("TimeoutStopSec=150s\nKillMode=mixed")
	b.WriteString(hardening)
	if !d.User {
		b.WriteString(systemHardening)
	}
	if d.User {
		line("\n[Install]\nWantedBy=default.target")
	} else {
		line("\n[Install]\nWantedBy=multi-user.target")
	}
	return b.String()
}

// quote makes one word of a command line (systemd.service(5), "Command lines");
// $ and % would else be expanded.
func quote(word string) string {
	return strings.ReplaceAll(quoteValue(word), "$", "$$")
}

// quoteValue is quote where no variables are expanded.
func quoteValue(word string) string {
	return `"` + specifiers(strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word)) + `"`
}

// specifiers keeps % from being expanded (systemd.unit(5), "Specifiers").
func specifiers(text string) string { return strings.ReplaceAll(text, "%", "%%") }
