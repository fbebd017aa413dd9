package main

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// writeBill writes what a program was made of, as Go has noted it in the program
// itself: the modules and the standard library.
func writeBill(target, program string, r release) error {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return fmt.Errorf("reading what the program is made of: %w", err)
	}
	sum, err := sumOf(program)
	if err != nil {
		return err
	}
	main := cdx.Component{
		Type: cdx.ComponentTypeApplication, BOMRef: "sfm-sidecar", Name: "sfm-sidecar", Version: r.version,
		Hashes:   &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: sum}},
		Licenses: &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}},
	}
	parts := []cdx.Component{library("std", strings.TrimPrefix(info.GoVersion, "go"), "")}
	refs := []string{parts[0].BOMRef}
	for _, m := range info.Deps { // sorted by Go
		if m.Replace != nil {
			m = m.Replace
		}
		parts = append(parts, library(m.Path, m.Version, m.Sum))
		refs = append(refs, parts[len(parts)-1].BOMRef)
	}
	bill := cdx.NewBOM()
	bill.Metadata = &cdx.Metadata{Timestamp: r.when.Format(time.RFC3339), Component: &main}
	bill.Components = &parts
	bill.Dependencies = &[]cdx.Dependency{{Ref: main.BOMRef, Dependencies: &refs}}
	var properties []cdx.Property
	for _, s := range info.Settings {
		if s.Key == "GOOS" || s.Key == "GOARCH" || s.Key == "CGO_ENABLED" {
			properties = append(properties, cdx.Property{Name: "go:build:" + s.Key, Value: s.Value})
		}
	}
	bill.Metadata.Properties = &properties

	out, err := os.Create(filepath.Clean(target))
	if err != nil {
		return err
	}
	defer out.Close()
	if err := cdx.NewBOMEncoder(out, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bill, cdx.SpecVersion1_6); err != nil {
		return fmt.Errorf("writing the bill of materials: %w", err)
	}
	return out.Close()
}

// library is a module, with Go's own checksum of it where it has one.
func library(name, version, sum string) cdx.Component {
	purl := "pkg:golang/" + name + "@" + version
	c := cdx.Component{Type: cdx.ComponentTypeLibrary, BOMRef: purl, Name: name, Version: version, PackageURL: purl, Scope: cdx.ScopeRequired}
	if sum != "" {
		c.Properties = &[]cdx.Property{{Name: "go:sum", Value: sum}}
	}
	return c
}
