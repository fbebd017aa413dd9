// Package image assembles the container images that the Dockerfile describes
// without a container engine, so that what they hold can be tested where none
// runs. It follows the Dockerfile's own lines: what it does not know of, it refuses.
package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// Dockerfile is a parsed Dockerfile.
type Dockerfile struct {
	args   map[string]string // the arguments before the first stage, with their defaults
	stages []instructions.Stage
}

// Parse reads a Dockerfile.
func Parse(text []byte) (*Dockerfile, error) {
	tree, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("reading the Dockerfile: %w", err)
	}
	stages, meta, err := instructions.Parse(tree.AST, nil)
	if err != nil {
		return nil, fmt.Errorf("reading the Dockerfile: %w", err)
	}
	d := &Dockerfile{args: map[string]string{}, stages: stages}
	for _, arg := range meta {
		take(d.args, arg.Args, nil)
	}
	return d, nil
}

// take adds arguments to vars: by their given value, else their default.
func take(vars map[string]string, args []instructions.KeyValuePairOptional, given map[string]string) {
	for _, arg := range args {
		if value, ok := given[arg.Key]; ok {
			vars[arg.Key] = value
		} else if arg.Value != nil {
			vars[arg.Key] = *arg.Value
		}
	}
}

// Last names the stage that is built when no target is given.
func (d *Dockerfile) Last() string { return d.stages[len(d.stages)-1].Name }

// Base is what a stage stands on, with the arguments' defaults in place.
func (d *Dockerfile) Base(stage string) string {
	for _, s := range d.stages {
		if s.Name == stage {
			return expand(s.BaseName, d.args)
		}
	}
	return ""
}

// Assemble builds a stage that stands on scratch. files leads from a path of the
// build stage to a file on this machine; args are the build's arguments.
func (d *Dockerfile) Assemble(stage string, files, args map[string]string) (v1.Image, error) {
	at := slices.IndexFunc(d.stages, func(s instructions.Stage) bool { return s.Name == stage })
	if at < 0 {
		return nil, fmt.Errorf("there is no stage %s", stage)
	}
	if base := d.Base(stage); base != "scratch" {
		return nil, fmt.Errorf("the stage stands on %s, only scratch can be assembled", base)
	}
	b := &builder{image: empty.Image, files: files, given: args, vars: map[string]string{}}
	b.config = v1.ConfigFile{OS: "linux", Architecture: args["TARGETARCH"]}
	for _, command := range d.stages[at].Commands {
		if err := b.carryOut(command); err != nil {
			return nil, err
		}
	}
	config, err := b.image.ConfigFile()
	if err != nil {
		return nil, err
	}
	b.config.RootFS = config.RootFS
	return mutate.ConfigFile(b.image, &b.config)
}

type builder struct {
	image        v1.Image
	config       v1.ConfigFile
	files, given map[string]string
	vars         map[string]string // the stage's arguments so far
}

func (b *builder) carryOut(command instructions.Command) error {
	switch c := command.(type) {
	case *instructions.ArgCommand:
		take(b.vars, c.Args, b.given)
	case *instructions.LabelCommand:
		if b.config.Config.Labels == nil {
			b.config.Config.Labels = map[string]string{}
		}
		for _, label := range c.Labels {
			b.config.Config.Labels[label.Key] = strings.Trim(expand(label.Value, b.vars), `"`)
		}
	case *instructions.CopyCommand:
		return b.copy(c)
	case *instructions.UserCommand:
		b.config.Config.User = c.User
	case *instructions.EntrypointCommand:
		if c.PrependShell {
			return fmt.Errorf("ENTRYPOINT needs a shell: %s", c)
		}
		b.config.Config.Entrypoint = c.CmdLine
	default:
		return fmt.Errorf("the instruction %s is not expected here", command.Name())
	}
	return nil
}

// copy adds one file as a layer.
func (b *builder) copy(c *instructions.CopyCommand) error {
	if c.From != "build" || len(c.SourcePaths) != 1 {
		return fmt.Errorf("copies one file of the stage build alone: %s", c)
	}
	local, ok := b.files[c.SourcePaths[0]]
	if !ok {
		return fmt.Errorf("the build stage has no %s", c.SourcePaths[0])
	}
	layer, err := layerOf(local, strings.TrimPrefix(c.DestPath, "/"))
	if err != nil {
		return err
	}
	b.image, err = mutate.AppendLayers(b.image, layer)
	return err
}

// layerOf holds one file and its folders, owned by root.
func layerOf(local, name string) (v1.Layer, error) {
	content, err := os.ReadFile(local)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(local)
	if err != nil {
		return nil, err
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	var above []string
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		above = append(above, dir)
	}
	for _, dir := range slices.Backward(above) {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}); err != nil {
			return nil, err
		}
	}
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: int64(info.Mode().Perm()), Size: int64(len(content))}); err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(archive.Bytes())), nil
	})
}

// expand puts arguments in place of their names.
func expand(text string, vars map[string]string) string {
	return os.Expand(text, func(name string) string { return vars[name] })
}
