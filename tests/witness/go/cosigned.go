// Opens a cosigned checkpoint with Go's own notes, which share no line with this project and know no cosignatures: first
// by the log's key alone, then with a verifier of C2SP tlog-cosignature, written here from that page.
//
//	cosigned <checkpoint> <log's verifier key> <witness's verifier key>...
package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

type witness struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (w witness) Name() string    { return w.name }
func (w witness) KeyHash() uint32 { return w.hash }

func (w witness) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	time := binary.BigEndian.Uint64(sig)
	signed := fmt.Sprintf("cosignature/v1\ntime %d\n%s", time, msg)
	return time > 0 && ed25519.Verify(w.key, []byte(signed), sig[8:])
}

func newWitness(vkey string) (witness, error) {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		return witness{}, fmt.Errorf("verifier key %q", vkey)
	}
	key, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(key) != 1+ed25519.PublicKeySize || key[0] != 4 {
		return witness{}, fmt.Errorf("verifier key %q", vkey)
	}
	hash := sha256.Sum256(append([]byte(parts[0]+"\n"), key...))
	if fmt.Sprintf("%x", hash[:4]) != parts[1] {
		return witness{}, fmt.Errorf("key id of %q", vkey)
	}
	return witness{parts[0], binary.BigEndian.Uint32(hash[:4]), key[1:]}, nil
}

func run() error {
	bytes, err := os.ReadFile(os.Args[1])
	if err != nil {
		return err
	}
	log, err := note.NewVerifier(os.Args[2])
	if err != nil {
		return err
	}
	verifiers := []note.Verifier{log}
	alone, err := note.Open(bytes, note.VerifierList(log))
	if err != nil {
		return fmt.Errorf("by the log's key: %v", err)
	}
	fmt.Printf("log %d verified, %d passed over\n", len(alone.Sigs), len(alone.UnverifiedSigs))
	for _, vkey := range os.Args[3:] {
		w, err := newWitness(vkey)
		if err != nil {
			return err
		}
		verifiers = append(verifiers, w)
	}
	opened, err := note.Open(bytes, note.VerifierList(verifiers...))
	if err != nil {
		return fmt.Errorf("by all keys: %v", err)
	}
	for _, sig := range opened.Sigs {
		fmt.Printf("verified %s\n", sig.Name)
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
