// Package signing makes the OpenPGP signatures that apt, dnf and zypper check.
//
// A Key is one private key; a Signer is the keys that a repository is signed
// with: one, or during a rotation several, the first of which is the primary.
// Formats that allow many signatures (InRelease, Release.gpg) carry one of
// each key; RPM's allow one, and carry the primary's.
//
// Keys are v4, RSA of at least 3072 bits (4096 is the default, and what every
// client of both formats takes) or Ed25519 (which EL 7 and 8 do not take), with
// self-signatures of SHA-256 or better: Debian 13 refuses SHA-1 since
// 2026-02-01. What does not fit is refused when it is loaded.
//
// Private material never leaves this package: a Key prints as its fingerprint,
// and errors carry none of a key file's bytes. A key file that others than its
// owner can read is refused. Time is a parameter everywhere.
package signing

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Algorithm is the kind of a key.
type Algorithm string

// The algorithms.
const (
	RSA4096 Algorithm = "rsa4096"
	Ed25519 Algorithm = "ed25519"
)

// ErrPassphrase: a key file wants another passphrase, or one at all.
var ErrPassphrase = errors.New("wrong or missing passphrase")

// maxKeyFile bounds a key file, in bytes.
const maxKeyFile = 1 << 20

// Key is one private signing key.
type Key struct{ entity *openpgp.Entity }

// Template says what key Generate makes.
type Template struct {
	Name      string        // the user id, "mos-7.0 repository"
	Email     string        // optional
	Algorithm Algorithm     // "" is RSA4096
	Lifetime  time.Duration // 0: does not expire
}

// Generate makes a key that begins at the time at.
func Generate(t Template, at time.Time) (*Key, error) {
	config := &packet.Config{
		Time:            func() time.Time { return at },
		DefaultHash:     crypto.SHA256,
		KeyLifetimeSecs: uint32(t.Lifetime / time.Second),
	}
	switch t.Algorithm {
	case "", RSA4096:
		config.Algorithm, config.RSABits = packet.PubKeyAlgoRSA, 4096
	case Ed25519:
		config.Algorithm, config.Curve = packet.PubKeyAlgoEdDSA, packet.Curve25519
	default:
		return nil, fmt.Errorf("generating a signing key: algorithm %q: rsa4096 and ed25519 are known", t.Algorithm)
	}
	entity, err := openpgp.NewEntity(t.Name, "", t.Email, config)
	if err != nil {
		return nil, fmt.Errorf("generating a signing key: %w", err)
	}
	entity.Subkeys = nil // nothing is ever encrypted to a repository
	return &Key{entity}, nil
}

// Save writes the key, armoured, to a new file that only its owner can read;
// a passphrase that is not empty protects it.
func (k *Key) Save(path string, passphrase []byte, at time.Time) error {
	fail := func(err error) error { return fmt.Errorf("saving %s to %s: %w", k, path, err) }
	entity := k.entity
	config := &packet.Config{Time: func() time.Time { return at }}
	if len(passphrase) > 0 { // on a copy: encrypting locks the key in memory too
		var raw bytes.Buffer
		if err := entity.SerializePrivateWithoutSigning(&raw, config); err != nil {
			return fail(err)
		}
		clone, err := openpgp.ReadEntity(packet.NewReader(&raw))
		if err != nil {
			return fail(err)
		}
		if err := clone.EncryptPrivateKeys(passphrase, config); err != nil {
			return fail(err)
		}
		entity = clone
	}
	var text bytes.Buffer
	w, err := armor.Encode(&text, openpgp.PrivateKeyType, nil)
	if err != nil {
		return fail(err)
	}
	if err := errors.Join(entity.SerializePrivateWithoutSigning(w, config), w.Close()); err != nil {
		return fail(err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("saving %s: %w", k, err)
	}
	_, err = f.Write(append(text.Bytes(), '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fail(err)
	}
	return nil
}

// Load reads an armoured private key. The file must be readable by its owner
// only (mode 0600 or less). The passphrase is for keys that have one
// (ErrPassphrase otherwise).
func Load(path string, passphrase []byte) (*Key, error) {
	fail := func(err error) (*Key, error) { return nil, fmt.Errorf("signing key %s: %w", path, err) }
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fail(err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fail(fmt.Errorf("mode %#o lets others read it: chmod 0600", mode))
	}
	if !info.Mode().IsRegular() || info.Size() > maxKeyFile {
		return fail(errors.New("not a key file"))
	}
	entities, err := openpgp.ReadArmoredKeyRing(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return fail(errors.New("not an armoured OpenPGP private key"))
	}
	if len(entities) != 1 {
		return fail(fmt.Errorf("%d keys; one per file is wanted", len(entities)))
	}
	return unlock(fail, entities[0], passphrase)
}

func unlock(fail func(error) (*Key, error), entity *openpgp.Entity, passphrase []byte) (*Key, error) {
	if entity.PrivateKey == nil {
		return fail(errors.New("a public key; the private one is wanted"))
	}
	if entity.PrivateKey.Encrypted {
		if len(passphrase) == 0 || entity.DecryptPrivateKeys(passphrase) != nil {
			return fail(ErrPassphrase)
		}
	}
	if entity.PrivateKey.Dummy() {
		return fail(errors.New("the primary key's private part is not in the file"))
	}
	if err := acceptable(entity); err != nil {
		return fail(err)
	}
	return &Key{entity}, nil
}

// acceptable holds a key to what every client takes.
func acceptable(entity *openpgp.Entity) error {
	key := entity.PrimaryKey
	if key.Version != 4 {
		return fmt.Errorf("a v%d key; clients take v4", key.Version)
	}
	switch key.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly:
		if bits, err := key.BitLength(); err != nil || bits < 3072 {
			return fmt.Errorf("RSA of %d bits; at least 3072 are wanted", bits)
		}
	case packet.PubKeyAlgoEdDSA:
	default:
		return errors.New("neither RSA nor Ed25519")
	}
	sig, identity := entity.PrimarySelfSignature()
	if sig == nil || identity == nil {
		return errors.New("no valid self-signature")
	}
	for _, id := range entity.Identities {
		if s := id.SelfSignature; s != nil && (s.Hash == crypto.SHA1 || s.Hash == crypto.MD5) {
			return fmt.Errorf("user id %q is signed with %v, which Debian 13 refuses: re-sign it with SHA-256", id.Name, s.Hash)
		}
	}
	if sig.FlagsValid && !sig.FlagSign {
		return errors.New("the primary key may not sign")
	}
	return nil
}

// Fingerprint is the key's fingerprint in capital hexadecimal digits.
func (k *Key) Fingerprint() string {
	return fmt.Sprintf("%X", k.entity.PrimaryKey.Fingerprint)
}

// Name is the key's user id.
func (k *Key) Name() string {
	if id := k.entity.PrimaryIdentity(); id != nil {
		return id.Name
	}
	return ""
}

// String names the key by its fingerprint; nothing private is in it.
func (k *Key) String() string { return "key " + k.Fingerprint() }

// GoString is String: %#v prints nothing private either.
func (k *Key) GoString() string { return k.String() }

// Format prints String for every verb.
func (k *Key) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }

// MarshalText is the fingerprint, so that no encoder looks further.
func (k *Key) MarshalText() ([]byte, error) { return []byte(k.Fingerprint()), nil }

// LogValue is what a log line shows of the key.
func (k *Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Expires tells when the key ends; false if it never does.
func (k *Key) Expires() (time.Time, bool) {
	sig, _ := k.entity.PrimarySelfSignature()
	if sig == nil || sig.KeyLifetimeSecs == nil || *sig.KeyLifetimeSecs == 0 {
		return time.Time{}, false
	}
	return k.entity.PrimaryKey.CreationTime.Add(time.Duration(*sig.KeyLifetimeSecs) * time.Second), true
}

// Warning says in a sentence that the key has ended or ends within the time
// ahead of now, and what to do; it is empty if there is nothing to say.
func (k *Key) Warning(now time.Time, ahead time.Duration) string {
	end, ends := k.Expires()
	day := end.UTC().Format(time.DateOnly)
	switch {
	case !ends || end.After(now.Add(ahead)):
		return ""
	case !end.After(now):
		return fmt.Sprintf("%s (%s) expired on %s: clients refuse what it signs; add a new key", k, k.Name(), day)
	}
	return fmt.Sprintf("%s (%s) expires on %s: add a new key now, so that clients learn it in time", k, k.Name(), day)
}

// PublicBinary is the public key as packets (apt's Signed-By with .gpg).
func (k *Key) PublicBinary() []byte {
	var out bytes.Buffer
	if err := k.entity.Serialize(&out); err != nil {
		panic("signing: " + err.Error()) // a key that was loaded or made can be written
	}
	return out.Bytes()
}

// PublicArmored is the public key as text (rpm --import, Signed-By with .asc).
func (k *Key) PublicArmored() string { return armored(openpgp.PublicKeyType, k.PublicBinary()) }

func armored(kind string, data []byte) string {
	var out strings.Builder
	w, err := armor.Encode(&out, kind, nil)
	if err == nil {
		_, err = w.Write(data)
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		panic("signing: " + err.Error()) // a strings.Builder takes everything
	}
	return out.String() + "\n"
}
