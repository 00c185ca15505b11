// Verifies a Tallystick log with Go's own transparency log packages, which share no line with this project.
//
//	verify <folder of the published log> <verifier key> <file of proofs> [<index of a bundle>...]
//
// Bundles that are named are withheld, since entries in them were erased: they must not be there, and of their entries the
// hashes are taken from the tiles, which the reader checks against the checkpoint.
//
// Go names tiles tile/8/<L>/<N>; C2SP tlog-tiles, which came later, leaves the height out.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type proofs struct {
	Inclusion []struct {
		Index int64
		Path  []tlog.Hash
	}
	Consistency []struct {
		OldSize       int64
		OldCheckpoint string
		Path          []tlog.Hash
	}
}

type tiles struct{ folder string }

func (t tiles) Height() int { return 8 }

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range wanted {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		bytes, err := os.ReadFile(filepath.Join(t.folder, path))
		if err != nil {
			return nil, err
		}
		data = append(data, bytes)
	}
	return data, nil
}

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func openCheckpoint(bytes []byte, verifier note.Verifier) (tlog.Tree, error) {
	opened, err := note.Open(bytes, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("checkpoint text %q", opened.Text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return tlog.Tree{}, fmt.Errorf("root %q", lines[2])
	}
	tree := tlog.Tree{N: size}
	copy(tree.Hash[:], root)
	return tree, nil
}

// Entries of withheld bundles are nil.
func entries(folder string, size int64, withheld map[string]bool) ([][]byte, error) {
	var all [][]byte
	for first := int64(0); first < size; first += 256 {
		width := size - first
		if width > 256 {
			width = 256
		}
		tile := tlog.Tile{H: 8, L: 0, N: first / 256, W: int(width)}
		path := strings.Replace(tile.Path(), "tile/8/0/", "tile/entries/", 1)
		bundle, err := os.ReadFile(filepath.Join(folder, path))
		if withheld[strconv.FormatInt(first/256, 10)] {
			if err == nil {
				return nil, fmt.Errorf("%s is there", path)
			}
			all = append(all, make([][]byte, width)...)
			continue
		}
		if err != nil {
			return nil, err
		}
		for len(bundle) > 0 {
			length := int(binary.BigEndian.Uint16(bundle))
			all = append(all, bundle[2:2+length])
			bundle = bundle[2+length:]
		}
	}
	if int64(len(all)) != size {
		return nil, fmt.Errorf("%d entries in bundles, %d in the checkpoint", len(all), size)
	}
	return all, nil
}

func run(folder, vkey, proofsPath string, withheld map[string]bool) error {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return fmt.Errorf("verifier key: %w", err)
	}
	bytes, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	if err != nil {
		return err
	}
	tree, err := openCheckpoint(bytes, verifier)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	fmt.Printf("checkpoint %d\n", tree.N)

	// The reader checks every tile that it reads against the checkpoint's root.
	reader := tlog.TileHashReader(tree, tiles{folder})
	all, err := entries(folder, tree.N, withheld)
	if err != nil {
		return fmt.Errorf("entries: %w", err)
	}
	var indexes []int64
	for index := range all {
		indexes = append(indexes, tlog.StoredHashIndex(0, int64(index)))
	}
	leaves, err := reader.ReadHashes(indexes)
	if err != nil {
		return fmt.Errorf("tiles: %w", err)
	}
	for index, entry := range all {
		if entry != nil && tlog.RecordHash(entry) != leaves[index] {
			return fmt.Errorf("entry %d is not what its tile says", index)
		}
	}
	// Once more without any tile: the tree over the entries alone, or the hashes of withheld ones, has the signed root.
	var stored []tlog.Hash
	own := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var hashes []tlog.Hash
		for _, index := range indexes {
			hashes = append(hashes, stored[index])
		}
		return hashes, nil
	})
	for index := range all {
		hashes, err := tlog.StoredHashesForRecordHash(int64(index), leaves[index], own)
		if err != nil {
			return err
		}
		stored = append(stored, hashes...)
	}
	if root, err := tlog.TreeHash(tree.N, own); err != nil || root != tree.Hash {
		return fmt.Errorf("entries: their root is %v, the checkpoint's %v (%v)", root, tree.Hash, err)
	}
	fmt.Printf("entries %d\n", len(all))

	bytes, err = os.ReadFile(proofsPath)
	if err != nil {
		return err
	}
	var given proofs
	if err := json.Unmarshal(bytes, &given); err != nil {
		return err
	}
	for _, each := range given.Inclusion {
		if err := tlog.CheckRecord(each.Path, tree.N, tree.Hash, each.Index, leaves[each.Index]); err != nil {
			return fmt.Errorf("inclusion of %d: %w", each.Index, err)
		}
		own, err := tlog.ProveRecord(tree.N, each.Index, reader)
		if err != nil || fmt.Sprint(own) != fmt.Sprint(tlog.RecordProof(each.Path)) {
			return fmt.Errorf("inclusion of %d: Go makes another path (%v)", each.Index, err)
		}
	}
	fmt.Printf("inclusion %d\n", len(given.Inclusion))
	for _, each := range given.Consistency {
		old, err := openCheckpoint([]byte(each.OldCheckpoint), verifier)
		if err != nil || old.N != each.OldSize {
			return fmt.Errorf("checkpoint of %d: %v", each.OldSize, err)
		}
		if err := tlog.CheckTree(each.Path, tree.N, tree.Hash, old.N, old.Hash); err != nil {
			return fmt.Errorf("consistency from %d: %w", old.N, err)
		}
	}
	fmt.Printf("consistency %d\n", len(given.Consistency))
	return nil
}

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: verify <folder> <verifier key> <proofs> [<bundle>...]")
		os.Exit(2)
	}
	withheld := map[string]bool{}
	for _, bundle := range os.Args[4:] {
		withheld[bundle] = true
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], withheld); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
