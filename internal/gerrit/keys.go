package gerrit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// HostKeys says how the server at addr is to prove itself, and the key algorithms to
// ask it for (those of which a key is known: it may have others first).
type HostKeys func(addr string) (ssh.HostKeyCallback, []string, error)

// KnownHosts trusts the keys in an OpenSSH known_hosts file. The file is read at each
// connection, so that a rotated key needs no restart.
func KnownHosts(file string) HostKeys {
	return func(addr string) (ssh.HostKeyCallback, []string, error) {
		check, err := knownhosts.New(file)
		if err != nil {
			return nil, nil, fmt.Errorf("known_hosts: %w", err)
		}
		var unknown *knownhosts.KeyError
		if !errors.As(check(addr, &net.TCPAddr{IP: net.IPv4zero}, nobodysKey()), &unknown) || len(unknown.Want) == 0 {
			return nil, nil, fmt.Errorf("%s has no key for %s: after checking it, add the output of ssh-keyscan -p PORT HOST", file, addr)
		}
		var algorithms []string
		for _, known := range unknown.Want {
			algorithms = append(algorithms, algorithmsOf(known.Key)...)
		}
		return check, algorithms, nil
	}
}

// HostKey trusts one key, a line of an authorized_keys file or a .pub file:
// "ssh-ed25519 AAAA…".
func HostKey(line string) HostKeys {
	return func(string) (ssh.HostKeyCallback, []string, error) {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			return nil, nil, fmt.Errorf("the host key is not a line like \"ssh-ed25519 AAAA…\": %w", err)
		}
		return ssh.FixedHostKey(key), algorithmsOf(key), nil
	}
}

func algorithmsOf(key ssh.PublicKey) []string {
	if key.Type() == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{key.Type()}
}

// nobodysKey is a key that no file has, to be told which keys it has.
func nobodysKey() ssh.PublicKey {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err == nil {
		if key, err := ssh.NewPublicKey(public); err == nil {
			return key
		}
	}
	panic("gerrit: no random numbers on this machine") // crypto/rand never fails
}

// ReadKey reads a private SSH key. With a passphrase it may be encrypted.
func ReadKey(file string, passphrase []byte) (ssh.Signer, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("gerrit: ssh key: %w", err)
	}
	var key ssh.Signer
	if len(bytes.TrimSpace(passphrase)) > 0 {
		key, err = ssh.ParsePrivateKeyWithPassphrase(pem, passphrase)
	} else {
		key, err = ssh.ParsePrivateKey(pem)
	}
	if err != nil {
		return nil, fmt.Errorf("gerrit: ssh key %s: %w", file, err)
	}
	return key, nil
}
