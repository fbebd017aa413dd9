package simulator

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"net/http"
	"slices"
	"strconv"
	"sync"
)

// The one version of the TUS protocol that is spoken, and how many uploads are kept.
const (
	tusVersion = "1.0.0"
	uploadCap  = 1000
)

// SFMUpload is a resumable upload (TUS) and how far it has come. What was uploaded is not kept, only its hash.
type SFMUpload struct {
	ID string `json:"id"`
	// Length is what was announced, Offset what has come, both in bytes.
	Length int64 `json:"length"`
	Offset int64 `json:"offset"`
	// SHA256 is that of everything that has come so far, in hex.
	SHA256 string `json:"sha256"`
}

type sfmUploads struct {
	mu      sync.Mutex
	uploads []*upload // oldest first; guarded by mu, also what they point to
}

type upload struct {
	id             string
	length, offset int64
	hash           hash.Cloner // of everything up to offset
}

func newSFMUploads() *sfmUploads { return &sfmUploads{} }

// newHash is SHA-256, which can be cloned (since Go 1.25): a part that breaks off leaves no trace.
func newHash() hash.Cloner { return sha256.New().(hash.Cloner) }

// SFMUploads returns the uploads begun, oldest first.
func (s *Simulator) SFMUploads() []SFMUpload {
	u := s.sfm.uploads
	u.mu.Lock()
	defer u.mu.Unlock()
	list := []SFMUpload{}
	for _, up := range u.uploads {
		list = append(list, SFMUpload{ID: up.id, Length: up.length, Offset: up.offset, SHA256: hex.EncodeToString(up.hash.Sum(nil))})
	}
	return list
}

// find needs the lock.
func (u *sfmUploads) find(id string) *upload {
	i := slices.IndexFunc(u.uploads, func(up *upload) bool { return up.id == id })
	if i < 0 {
		return nil
	}
	return u.uploads[i]
}

// createUpload begins an upload. The Location it gives is absolute and begins with http://, as the real SFM may write
// its own addresses: a client in front of a proxy must not follow it as it is.
func createUpload(c *sfmCall) sfmAnswer {
	if refusal := c.checkTUS(); refusal != nil {
		return refused(refusal)
	}
	length, err := strconv.ParseInt(c.r.Header.Get("Upload-Length"), 10, 64)
	if err != nil || length < 0 {
		return refused(invalid("Upload-Length is missing or not a number of bytes", ""))
	}
	up := &upload{id: newUUID(), length: length, hash: newHash()}
	u := c.sim.sfm.uploads
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.uploads) >= uploadCap {
		u.uploads = slices.Delete(u.uploads, 0, 1)
	}
	u.uploads = append(u.uploads, up)
	answer := tusAnswer(http.StatusCreated, up)
	answer.header.Set("Location", c.seenURL(c.path+"/"+up.id))
	return answer
}

func (c *sfmCall) checkTUS() *sfmRefusal {
	if c.r.Header.Get("Tus-Resumable") == tusVersion {
		return nil
	}
	return &sfmRefusal{
		status: http.StatusPreconditionFailed, code: "tus-version", issue: "not-supported",
		text: "Tus-Resumable must be " + tusVersion, header: http.Header{"Tus-Version": {tusVersion}},
	}
}

func tusAnswer(status int, up *upload) sfmAnswer {
	return sfmAnswer{status: status, header: http.Header{
		"Tus-Resumable": {tusVersion},
		"Upload-Offset": {strconv.FormatInt(up.offset, 10)},
		"Upload-Length": {strconv.FormatInt(up.length, 10)},
		"Cache-Control": {"no-store"},
	}}
}

func uploadState(c *sfmCall) sfmAnswer {
	if refusal := c.checkTUS(); refusal != nil {
		return refused(refusal)
	}
	u := c.sim.sfm.uploads
	u.mu.Lock()
	defer u.mu.Unlock()
	up := u.find(c.id)
	if up == nil {
		return refused(noSuchUpload())
	}
	return tusAnswer(http.StatusOK, up)
}

func noSuchUpload() *sfmRefusal {
	return &sfmRefusal{status: http.StatusNotFound, code: "not-found", issue: "not-found", text: "there is no such upload"}
}

// prepareUpload judges a part before its body is read, and points the body at a copy of the upload's hash.
func prepareUpload(c *sfmCall) *sfmRefusal {
	if refusal := c.checkTUS(); refusal != nil {
		return refusal
	}
	offset, err := strconv.ParseInt(c.r.Header.Get("Upload-Offset"), 10, 64)
	if err != nil {
		return invalid("Upload-Offset is missing or not a number of bytes", "")
	}
	u := c.sim.sfm.uploads
	u.mu.Lock()
	defer u.mu.Unlock()
	up := u.find(c.id)
	if up == nil {
		return noSuchUpload()
	}
	if offset != up.offset {
		return wrongOffset()
	}
	clone, err := up.hash.Clone()
	if err != nil {
		panic("BUG: SHA-256 that can't be cloned: " + err.Error())
	}
	c.sink, c.offset = clone, offset
	return nil
}

func wrongOffset() *sfmRefusal {
	return &sfmRefusal{status: http.StatusConflict, code: "wrong-offset", issue: "conflict", text: "Upload-Offset is not where the upload has come to; ask with HEAD"}
}

// uploadPart takes a part that has come whole. A part that broke off counts for nothing.
func uploadPart(c *sfmCall) sfmAnswer {
	u := c.sim.sfm.uploads
	u.mu.Lock()
	defer u.mu.Unlock()
	up := u.find(c.id)
	switch {
	case up == nil:
		return refused(noSuchUpload())
	case up.offset != c.offset: // another part came in meanwhile
		return refused(wrongOffset())
	case up.offset+c.length > up.length:
		return refused(invalid("the part goes beyond the announced length", ""))
	}
	up.offset += c.length
	up.hash, _ = c.sink.(hash.Cloner)
	return tusAnswer(http.StatusNoContent, up)
}
