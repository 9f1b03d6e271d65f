package rpm

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cavaliergopher/rpm"
)

// Relation is one entry of Provides, Requires and the others.
type Relation struct {
	Name    string
	Flags   string // "", "EQ", "LT", "LE", "GT", "GE"
	Epoch   string // "" where there is no version; "0" where the version has none
	Version string
	Release string // may be ""
	Pre     bool   // needed before or after the package's own scripts
}

// String is "name", or "name >= 1:2-3".
func (r Relation) String() string {
	if r.Flags == "" {
		return r.Name
	}
	sign := map[string]string{"EQ": "=", "LT": "<", "LE": "<=", "GT": ">", "GE": ">="}[r.Flags]
	return fmt.Sprintf("%s %s %s", r.Name, sign, r.evr())
}

func (r Relation) evr() EVR {
	epoch, _ := strconv.Atoi(r.Epoch)
	return EVR{Epoch: epoch, Version: r.Version, Release: r.Release}
}

// Satisfies reports whether the provided r satisfies the required one.
func (r Relation) Satisfies(required Relation) bool {
	if r.Name != required.Name {
		return false
	}
	if r.Flags == "" || required.Flags == "" || r.Version == "" || required.Version == "" {
		return true
	}
	less := func(f string) bool { return f == "LT" || f == "LE" }
	more := func(f string) bool { return f == "GT" || f == "GE" }
	equal := func(f string) bool { return f == "EQ" || f == "LE" || f == "GE" }
	if less(r.Flags) && less(required.Flags) || more(r.Flags) && more(required.Flags) {
		return true
	}
	switch c := r.evr().Compare(required.evr()); {
	case c < 0:
		return more(r.Flags) || less(required.Flags)
	case c > 0:
		return less(r.Flags) || more(required.Flags)
	case (r.Release == "") != (required.Release == ""): // the one without stands for all releases of the version
		return r.Release == "" && equal(r.Flags) || required.Release == "" && equal(required.Flags)
	}
	return equal(r.Flags) && equal(required.Flags)
}

// Provider reports whether the package provides what is required, by its
// Provides or by one of its files.
func (p Package) Provider(required Relation) bool {
	for _, provided := range p.Provides {
		if provided.Satisfies(required) {
			return true
		}
	}
	if strings.HasPrefix(required.Name, "/") {
		for _, f := range p.Files {
			if f.Path == required.Name {
				return true
			}
		}
	}
	return false
}

// The flags of a relation.
const (
	flagLess, flagMore, flagEqual = 1 << 1, 1 << 2, 1 << 3
	flagPrereq, flagScripts       = 1 << 6, 1<<9 | 1<<10
)

func (p *Package) relations(h *rpm.Header) error {
	for _, kind := range []struct {
		into                   *[]Relation
		names, flags, versions int
	}{
		{&p.Provides, 1047, 1112, 1113}, {&p.Requires, 1049, 1048, 1050}, {&p.Conflicts, 1054, 1053, 1055}, {&p.Obsoletes, 1090, 1114, 1115},
		{&p.Recommends, 5046, 5048, 5047}, {&p.Suggests, 5049, 5051, 5050}, {&p.Supplements, 5052, 5054, 5053}, {&p.Enhances, 5055, 5057, 5056},
	} {
		names, flags, versions := h.GetTag(kind.names).StringSlice(), h.GetTag(kind.flags).Int64Slice(), h.GetTag(kind.versions).StringSlice()
		if len(names) == 0 {
			continue
		}
		if len(flags) != len(names) || len(versions) != len(names) {
			return bad("%d relations with %d flags and %d versions", len(names), len(flags), len(versions))
		}
		for i, name := range names {
			*kind.into = append(*kind.into, relation(clean(name), flags[i], clean(versions[i])))
		}
	}
	return nil
}

func relation(name string, flags int64, version string) Relation {
	r := Relation{Name: name, Pre: flags&(flagPrereq|flagScripts) != 0}
	r.Flags = map[int64]string{flagLess: "LT", flagMore: "GT", flagEqual: "EQ", flagLess | flagEqual: "LE", flagMore | flagEqual: "GE"}[flags&0xf]
	if r.Flags == "" || version == "" {
		return r
	}
	r.Epoch = "0"
	if epoch, rest, found := strings.Cut(version, ":"); found {
		if _, err := strconv.ParseUint(epoch, 10, 32); err == nil {
			r.Epoch, version = epoch, rest
		}
	}
	r.Version = version
	if i := strings.LastIndexByte(version, '-'); i >= 0 {
		r.Version, r.Release = version[:i], version[i+1:]
	}
	return r
}
