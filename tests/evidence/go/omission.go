// Looks for ids among all leaf hashes of a published log, with Go's own transparency log packages, which share no line with
// this project: the checkpoint is opened with the log's key, the root is made from the leaf hashes in the tiles of level 0
// alone, and each id is said to stand at an index or to be absent.
//
//	omission <folder of the published log> <the log's verifier key> <id in hexadecimal>...
package main

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Hashes of complete subtrees, by Go's numbering.
type memory []tlog.Hash

func (m memory) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var hashes []tlog.Hash
	for _, index := range indexes {
		if index >= int64(len(m)) {
			return nil, fmt.Errorf("hash %d of %d", index, len(m))
		}
		hashes = append(hashes, m[index])
	}
	return hashes, nil
}

func run(folder, vkey string, ids []string) error {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	bytes, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	if err != nil {
		return err
	}
	opened, err := note.Open(bytes, note.VerifierList(verifier))
	if err != nil {
		return err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return fmt.Errorf("checkpoint text %q", opened.Text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return err
	}
	at := map[string]int64{}
	var stored memory
	for first := int64(0); first < size; first += 256 {
		width := size - first
		if width > 256 {
			width = 256
		}
		tile := tlog.Tile{H: 8, L: 0, N: first / 256, W: int(width)}
		data, err := os.ReadFile(filepath.Join(folder, strings.Replace(tile.Path(), "tile/8/", "tile/", 1)))
		if err != nil {
			return err
		}
		for i := int64(0); i < width; i++ {
			var leaf tlog.Hash
			copy(leaf[:], data[i*tlog.HashSize:])
			more, err := tlog.StoredHashesForRecordHash(first+i, leaf, stored)
			if err != nil {
				return err
			}
			stored = append(stored, more...)
			if _, seen := at[hex.EncodeToString(leaf[:])]; !seen {
				at[hex.EncodeToString(leaf[:])] = first + i
			}
		}
	}
	root, err := tlog.TreeHash(size, stored)
	if err != nil {
		return err
	}
	if base64.StdEncoding.EncodeToString(root[:]) != lines[2] {
		return fmt.Errorf("the leaf hashes give another root than the checkpoint's")
	}
	fmt.Printf("root of %d leaf hashes\n", size)
	for _, id := range ids {
		if index, there := at[id]; there {
			fmt.Printf("%s index %d\n", id, index)
		} else {
			fmt.Printf("%s absent\n", id)
		}
	}
	return nil
}

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
