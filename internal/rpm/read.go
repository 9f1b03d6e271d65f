package rpm

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cavaliergopher/rpm"
)

// Package is what an RPM says of itself.
type Package struct {
	Name         string
	EVR          EVR
	Architecture string // "x86_64", "noarch", "src", "nosrc"
	SourceRPM    string // file name of the source RPM; "" if this is one
	Summary      string
	Description  string
	Packager     string
	URL          string
	License      string
	Vendor       string
	Group        string
	BuildHost    string
	BuildTime    time.Time

	InstalledSize int64 // bytes
	ArchiveSize   int64 // bytes

	Provides, Requires, Conflicts, Obsoletes    []Relation
	Suggests, Enhances, Recommends, Supplements []Relation

	Files     []File
	Changelog []Change // newest first

	// HeaderStart and HeaderEnd are the bytes of the main header in the file.
	HeaderStart, HeaderEnd int64
	// PayloadDigest is the SHA-256 of the payload as it is in the file: equal
	// before and after signing.
	PayloadDigest string
	Signed        bool
}

// File is a file in a package.
type File struct {
	Path  string
	Dir   bool
	Ghost bool
}

// Change is an entry of the changelog.
type Change struct {
	Author string // "Name <mail> - version"
	Time   time.Time
	Text   string
}

// Source reports whether it is a source package.
func (p Package) Source() bool { return p.SourceRPM == "" }

// FileName is the name that the package's file has in a repository.
func (p Package) FileName() string {
	return fmt.Sprintf("%s-%s-%s.%s.rpm", p.Name, p.EVR.Version, p.EVR.Release, p.Architecture)
}

// SourceName is the name and the version-release (without epoch) of the source package.
func (p Package) SourceName() (name, version string) {
	if p.Source() {
		return p.Name, p.EVR.Version + "-" + p.EVR.Release
	}
	base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(p.SourceRPM, ".rpm"), ".nosrc"), ".src")
	if r := strings.LastIndexByte(base, '-'); r > 0 {
		if v := strings.LastIndexByte(base[:r], '-'); v > 0 {
			return base[:v], base[v+1:]
		}
	}
	return p.Name, p.EVR.Version + "-" + p.EVR.Release
}

// The tags that are read (rpmtag.h).
const (
	sigMD5, sigPGP, sigSHA1, sigSHA256, sigRSA, sigDSA, sigPayloadSize, sigLongArchive = 1004, 1002, 269, 273, 268, 267, 1007, 271

	tagName, tagVersion, tagRelease, tagEpoch, tagSummary, tagDescription = 1000, 1001, 1002, 1003, 1004, 1005
	tagBuildTime, tagBuildHost, tagSize, tagVendor, tagLicense            = 1006, 1007, 1009, 1011, 1014
	tagPackager, tagGroup, tagURL, tagArch                                = 1015, 1016, 1020, 1022
	tagOldFilenames, tagFileModes, tagFileFlags, tagSourceRPM             = 1027, 1030, 1037, 1044
	tagArchiveSize, tagNoSource, tagNoPatch, tagSourcePackage             = 1046, 1051, 1052, 1106
	tagChangeTime, tagChangeName, tagChangeText                           = 1080, 1081, 1082
	tagDirIndexes, tagBaseNames, tagDirNames                              = 1116, 1117, 1118
	tagPayloadDigest, tagPayloadDigestAlgo, tagModularityLabel            = 5092, 5093, 5096
	tagLongSize                                                           = 5009
)

var (
	nameText    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+-]{0,199}$`)
	versionText = regexp.MustCompile(`^[A-Za-z0-9._+~^]{1,100}$`)
	archText    = regexp.MustCompile(`^[a-z0-9_]{1,31}$`)
)

// ReadPackage reads an RPM of size bytes wholly; what it finds wrong is ErrBad.
func ReadPackage(r io.ReaderAt, size int64) (_ Package, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = bad("it cannot be read: %v", v)
		}
	}()
	at, err := checkLayout(r, size)
	if err != nil {
		return Package{}, err
	}
	head := make([]byte, at.payload)
	if _, err := r.ReadAt(head, 0); err != nil {
		return Package{}, bad("it cannot be read: %v", err)
	}
	raw, err := rpm.Read(bytes.NewReader(head))
	if err != nil {
		return Package{}, bad("%v", err)
	}
	p := Package{HeaderStart: at.header, HeaderEnd: at.payload}
	if p.PayloadDigest, err = checkDigests(raw, head[at.header:], io.NewSectionReader(r, at.payload, size-at.payload)); err != nil {
		return Package{}, err
	}
	p.Signed = raw.Signature.GetTag(sigRSA) != nil || raw.Signature.GetTag(sigDSA) != nil || raw.Signature.GetTag(sigPGP) != nil
	if err := p.identity(&raw.Header); err != nil {
		return Package{}, err
	}
	p.describe(raw)
	if err := p.relations(&raw.Header); err != nil {
		return Package{}, err
	}
	return p, p.lists(&raw.Header)
}

// checkDigests compares the header and the payload with the digests in the
// file, and returns the payload's SHA-256.
func checkDigests(raw *rpm.Package, header []byte, payload io.Reader) (string, error) {
	checked := false
	if want := raw.Signature.GetTag(sigSHA256).String(); want != "" {
		if got := sha256.Sum256(header); hex.EncodeToString(got[:]) != want {
			return "", bad("the header does not have its SHA-256: the file is damaged")
		}
		checked = true
	} else if want := raw.Signature.GetTag(sigSHA1).String(); want != "" {
		if got := sha1.Sum(header); hex.EncodeToString(got[:]) != want {
			return "", bad("the header does not have its SHA-1: the file is damaged")
		}
		checked = true
	}
	own, old := sha256.New(), md5.New()
	old.Write(header)
	writers := []io.Writer{own, old}
	want, kind := raw.Header.GetTag(tagPayloadDigest).String(), raw.Header.GetTag(tagPayloadDigestAlgo).Int64()
	declared := own // of another algorithm, where the package says so
	if want != "" && kind != 8 {
		switch kind {
		case 9:
			declared = sha512.New384()
		case 10:
			declared = sha512.New()
		default:
			return "", bad("the payload's digest is of the unknown kind %d", kind)
		}
		writers = append(writers, declared)
	}
	if _, err := io.Copy(io.MultiWriter(writers...), payload); err != nil {
		return "", bad("the payload cannot be read: %v", err)
	}
	sum := hex.EncodeToString(own.Sum(nil))
	if want != "" {
		if got := hex.EncodeToString(declared.Sum(nil)); got != want {
			return "", bad("the payload does not have its digest: the file is cut off or damaged")
		}
		if checked {
			return sum, nil
		}
	}
	md := raw.Signature.GetTag(sigMD5).Bytes()
	if !bytes.Equal(md, old.Sum(nil)) {
		return "", bad("header and payload do not have their MD5, and there is no better digest: the file is cut off or damaged")
	}
	return sum, nil
}

func (p *Package) identity(h *rpm.Header) error {
	p.Name, p.Architecture, p.SourceRPM = h.GetTag(tagName).String(), h.GetTag(tagArch).String(), h.GetTag(tagSourceRPM).String()
	p.EVR = EVR{Epoch: int(h.GetTag(tagEpoch).Int64()), Version: h.GetTag(tagVersion).String(), Release: h.GetTag(tagRelease).String()}
	if h.GetTag(tagSourcePackage) != nil || p.SourceRPM == "" {
		p.SourceRPM, p.Architecture = "", "src"
		if h.GetTag(tagNoSource) != nil || h.GetTag(tagNoPatch) != nil {
			p.Architecture = "nosrc"
		}
	}
	switch {
	case !nameText.MatchString(p.Name):
		return bad("%.80q is not a package's name", p.Name)
	case !versionText.MatchString(p.EVR.Version) || !versionText.MatchString(p.EVR.Release) || p.EVR.Epoch < 0:
		return bad("%.200q is not a version", p.EVR.String())
	case !archText.MatchString(p.Architecture):
		return bad("architecture %.80q", p.Architecture)
	case strings.ContainsAny(p.SourceRPM, "/\n"):
		return bad("source package %.80q", p.SourceRPM)
	case h.GetTag(tagModularityLabel) != nil:
		return bad("it belongs to the module %.80q, and there is no module document", h.GetTag(tagModularityLabel).String())
	}
	return nil
}

func (p *Package) describe(raw *rpm.Package) {
	h := &raw.Header
	text := func(tag int) string { return clean(h.GetTag(tag).String()) }
	p.Summary, p.Description, p.Packager, p.URL = text(tagSummary), text(tagDescription), text(tagPackager), text(tagURL)
	p.License, p.Vendor, p.Group, p.BuildHost = text(tagLicense), text(tagVendor), text(tagGroup), text(tagBuildHost)
	p.SourceRPM = clean(p.SourceRPM)
	p.BuildTime = time.Unix(h.GetTag(tagBuildTime).Int64(), 0).UTC()
	p.InstalledSize = max(h.GetTag(tagSize).Int64(), h.GetTag(tagLongSize).Int64())
	p.ArchiveSize = max(h.GetTag(tagArchiveSize).Int64(), raw.Signature.GetTag(sigPayloadSize).Int64(), raw.Signature.GetTag(sigLongArchive).Int64())
}

func (p *Package) lists(h *rpm.Header) error {
	modes, flags := h.GetTag(tagFileModes).Int64Slice(), h.GetTag(tagFileFlags).Int64Slice()
	paths := h.GetTag(tagOldFilenames).StringSlice()
	if base := h.GetTag(tagBaseNames).StringSlice(); base != nil {
		dirs, index := h.GetTag(tagDirNames).StringSlice(), h.GetTag(tagDirIndexes).Int64Slice()
		if len(index) != len(base) {
			return bad("%d names of files and %d of folders", len(base), len(index))
		}
		paths = make([]string, len(base))
		var total int
		for i, b := range base {
			if index[i] < 0 || index[i] >= int64(len(dirs)) {
				return bad("the file %.80q is in no folder", b)
			}
			paths[i] = dirs[index[i]] + b
			if total += len(paths[i]); total > 4*maxHeaderData { // one long folder times many files
				return bad("its list of files has more than %d bytes", 4*maxHeaderData)
			}
		}
	}
	if len(modes) < len(paths) || len(flags) < len(paths) {
		return bad("%d files, %d modes and %d flags", len(paths), len(modes), len(flags))
	}
	for i, path := range paths {
		p.Files = append(p.Files, File{Path: clean(path), Dir: modes[i]&0o170000 == 0o040000, Ghost: flags[i]&64 != 0})
	}
	times, names, texts := h.GetTag(tagChangeTime).Int64Slice(), h.GetTag(tagChangeName).StringSlice(), h.GetTag(tagChangeText).StringSlice()
	if len(times) != len(names) || len(times) != len(texts) {
		return bad("the parts of its changelog do not fit")
	}
	for i := range times {
		p.Changelog = append(p.Changelog, Change{Author: clean(names[i]), Time: time.Unix(times[i], 0).UTC(), Text: clean(texts[i])})
	}
	return nil
}

// clean makes text fit for XML: bytes that are not UTF-8 are taken for
// Latin-1, and control characters go.
func clean(s string) string {
	plain := true
	for i := 0; i < len(s) && plain; i++ {
		plain = s[i] >= 0x20 && s[i] < 0x7f
	}
	if plain {
		return s
	}
	if !utf8.ValidString(s) {
		runes := make([]rune, len(s))
		for i := range len(s) {
			runes[i] = rune(s[i])
		}
		s = string(runes)
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0xfffe || r == 0xffff:
			return -1
		}
		return r
	}, s)
}
