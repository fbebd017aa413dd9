package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path"
	"time"
)

// file is one file of an archive.
type file struct {
	name, source string
	mode         os.FileMode
}

// writeTar writes a .tar.gz whose files lie in one folder, belong to nobody in
// particular and are all of the same time.
func writeTar(target, folder string, when time.Time, files []file) error {
	out, err := os.Create(target)
	if err != nil {
		return err
	}
	compressed, err := gzip.NewWriterLevel(out, gzip.BestCompression) // its header has no name and no time
	if err != nil {
		return errors.Join(err, out.Close())
	}
	archive := tar.NewWriter(compressed)
	for _, f := range files {
		if err = addTar(archive, folder, when, f); err != nil {
			break
		}
	}
	return errors.Join(err, archive.Close(), compressed.Close(), out.Close())
}

func addTar(archive *tar.Writer, folder string, when time.Time, f file) error {
	content, err := os.ReadFile(f.source)
	if err != nil {
		return err
	}
	if err := archive.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: path.Join(folder, f.name), Size: int64(len(content)), Mode: int64(f.mode), ModTime: when,
		Format: tar.FormatUSTAR,
	}); err != nil {
		return err
	}
	_, err = archive.Write(content)
	return err
}

// writeZip is writeTar for Windows.
func writeZip(target, folder string, when time.Time, files []file) error {
	out, err := os.Create(target)
	if err != nil {
		return err
	}
	archive := zip.NewWriter(out)
	for _, f := range files {
		if err = addZip(archive, folder, when, f); err != nil {
			break
		}
	}
	return errors.Join(err, archive.Close(), out.Close())
}

func addZip(archive *zip.Writer, folder string, when time.Time, f file) error {
	source, err := os.Open(f.source)
	if err != nil {
		return err
	}
	defer source.Close()
	header := &zip.FileHeader{Name: path.Join(folder, f.name), Method: zip.Deflate, Modified: when}
	header.SetMode(f.mode)
	w, err := archive.CreateHeader(header)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, source)
	return err
}
