package signing

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Signer signs with one key, or with several during a rotation.
// It may be used from many goroutines.
type Signer struct{ keys []*Key }

// NewSigner makes a signer; the first key is the primary one.
func NewSigner(primary *Key, others ...*Key) *Signer {
	return &Signer{keys: append([]*Key{primary}, others...)}
}

// Keys returns the signer's keys, the primary first.
func (s *Signer) Keys() []*Key { return append([]*Key(nil), s.keys...) }

// Clearsign returns data inside an armour with one signature of each key, as
// InRelease wants it: nothing stands outside the armour.
func (s *Signer) Clearsign(data []byte, at time.Time) ([]byte, error) {
	var private []*packet.PrivateKey
	for _, k := range s.keys {
		if err := k.usable(at); err != nil {
			return nil, err
		}
		private = append(private, k.entity.PrivateKey)
	}
	var out bytes.Buffer
	w, err := clearsign.EncodeMulti(&out, private, config(at))
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	_, err = w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// DetachSign returns one armoured block with a signature of each key, as
// Release.gpg wants it.
func (s *Signer) DetachSign(data []byte, at time.Time) ([]byte, error) {
	var all []byte
	for _, k := range s.keys {
		raw, err := k.sign(bytes.NewReader(data), at)
		if err != nil {
			return nil, err
		}
		all = append(all, raw...)
	}
	return []byte(armored(openpgp.SignatureType, all)), nil
}

// DetachSignPrimary is DetachSign with the primary key alone: dnf takes one
// signature in repomd.xml.asc, not two.
func (s *Signer) DetachSignPrimary(data []byte, at time.Time) ([]byte, error) {
	raw, err := s.SignPacket(bytes.NewReader(data), at)
	if err != nil {
		return nil, err
	}
	return []byte(armored(openpgp.SignatureType, raw)), nil
}

// SignPacket returns the primary key's signature as one bare v4 packet, as the
// header of an RPM holds it.
func (s *Signer) SignPacket(r io.Reader, at time.Time) ([]byte, error) { return s.keys[0].sign(r, at) }

// PublicArmored is all public keys, one armoured block behind another.
func (s *Signer) PublicArmored() string {
	var out strings.Builder
	for _, k := range s.keys {
		out.WriteString(k.PublicArmored())
	}
	return out.String()
}

// PublicBinary is all public keys as packets: a keyring.
func (s *Signer) PublicBinary() []byte {
	var out []byte
	for _, k := range s.keys {
		out = append(out, k.PublicBinary()...)
	}
	return out
}

// Warnings are the keys' Warning sentences.
func (s *Signer) Warnings(now time.Time, ahead time.Duration) []string {
	var out []string
	for _, k := range s.keys {
		if w := k.Warning(now, ahead); w != "" {
			out = append(out, w)
		}
	}
	return out
}

// String names the signer's keys by their fingerprints.
func (s *Signer) String() string {
	names := make([]string, len(s.keys))
	for i, k := range s.keys {
		names[i] = k.String()
	}
	return strings.Join(names, ", ")
}

func config(at time.Time) *packet.Config {
	plain := false // the salt notation is younger than the clients
	return &packet.Config{
		Time:                                  func() time.Time { return at },
		DefaultHash:                           crypto.SHA256,
		NonDeterministicSignaturesViaNotation: &plain,
	}
}

// usable refuses a key that has not begun or has ended: no client would take
// what it signs.
func (k *Key) usable(at time.Time) error {
	if begin := k.entity.PrimaryKey.CreationTime; begin.After(at) {
		return fmt.Errorf("signing with %s: it is valid from %s on, and it is %s", k, begin.UTC().Format(time.RFC3339), at.UTC().Format(time.RFC3339))
	}
	if end, ends := k.Expires(); ends && !end.After(at) {
		return fmt.Errorf("signing with %s: it expired on %s; add a new key", k, end.UTC().Format(time.DateOnly))
	}
	return nil
}

func (k *Key) sign(r io.Reader, at time.Time) ([]byte, error) {
	if err := k.usable(at); err != nil {
		return nil, err
	}
	key := k.entity.PrivateKey
	sig := &packet.Signature{
		Version:           4,
		SigType:           packet.SigTypeBinary,
		CreationTime:      at,
		PubKeyAlgo:        key.PubKeyAlgo,
		Hash:              crypto.SHA256,
		IssuerKeyId:       &key.KeyId,
		IssuerFingerprint: key.Fingerprint,
	}
	hash := crypto.SHA256.New()
	if _, err := io.Copy(hash, r); err != nil {
		return nil, fmt.Errorf("signing with %s: %w", k, err)
	}
	if err := sig.Sign(hash, key, config(at)); err != nil {
		return nil, fmt.Errorf("signing with %s: %w", k, err)
	}
	var out bytes.Buffer
	if err := sig.Serialize(&out); err != nil {
		return nil, fmt.Errorf("signing with %s: %w", k, err)
	}
	return out.Bytes(), nil
}

// Keyring is public keys that signatures are checked with.
type Keyring struct{ keys openpgp.EntityList }

// ParseKeyring reads public keys: armoured blocks, or bare packets.
func ParseKeyring(data []byte) (*Keyring, error) {
	ring := &Keyring{}
	if !bytes.HasPrefix(bytes.TrimSpace(data), []byte("-----BEGIN PGP")) {
		keys, err := openpgp.ReadKeyRing(bytes.NewReader(data))
		if err != nil {
			return nil, errors.New("reading public keys: neither armoured nor a keyring")
		}
		return &Keyring{keys}, nil
	}
	const end = "-----END PGP PUBLIC KEY BLOCK-----"
	for rest := string(data); strings.TrimSpace(rest) != ""; {
		block, tail, found := strings.Cut(rest, end)
		if !found {
			return nil, errors.New("reading public keys: an armoured block does not end")
		}
		keys, err := openpgp.ReadArmoredKeyRing(strings.NewReader(block + end + "\n"))
		if err != nil {
			return nil, fmt.Errorf("reading public keys: %w", err)
		}
		ring.keys, rest = append(ring.keys, keys...), tail
	}
	return ring, nil
}

// Verify checks an armoured detached signature: at least one signature is
// valid at the time at, and by one of the keys.
func (k *Keyring) Verify(data, signature []byte, at time.Time) error {
	block, err := armor.Decode(bytes.NewReader(signature))
	if err != nil {
		return errors.New("the signature is not an armoured one")
	}
	return k.check(data, block.Body, at)
}

// VerifyClearsigned checks an InRelease and returns the bytes that were signed.
// Anything outside the armour is an error.
func (k *Keyring) VerifyClearsigned(text []byte, at time.Time) ([]byte, error) {
	block, rest := clearsign.Decode(text)
	if block == nil {
		return nil, errors.New("not a clearsigned file")
	}
	if len(bytes.TrimSpace(rest)) > 0 || !bytes.HasPrefix(text, []byte("-----BEGIN PGP SIGNED MESSAGE-----")) {
		return nil, errors.New("there are bytes outside the signature's armour")
	}
	if err := k.check(block.Bytes, block.ArmoredSignature.Body, at); err != nil {
		return nil, err
	}
	return block.Plaintext, nil
}

// check tries each signature packet on its own: one that is valid is enough,
// as it is for apt.
func (k *Keyring) check(data []byte, body io.Reader, at time.Time) error {
	raw, err := io.ReadAll(io.LimitReader(body, maxKeyFile))
	if err != nil {
		return fmt.Errorf("reading the signature: %w", err)
	}
	last := errors.New("there is no signature in it")
	packets := packet.NewReader(bytes.NewReader(raw))
	for {
		p, err := packets.Next()
		if err != nil {
			return fmt.Errorf("the signature is not valid: %w", last)
		}
		sig, ok := p.(*packet.Signature)
		if !ok {
			continue
		}
		var one bytes.Buffer
		if err := sig.Serialize(&one); err != nil {
			last = err
			continue
		}
		_, err = openpgp.CheckDetachedSignature(k.keys, bytes.NewReader(data), &one, config(at))
		if err == nil {
			return nil
		}
		last = err
	}
}
