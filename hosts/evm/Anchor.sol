// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// The newest checkpoint of one transparency log: its size and its root, advanced by one relay, readable by anyone.
///
/// Storage, which proofs read (EIP-1186), so it must never move:
///   slot 0   size   uint64, alone in its slot: the value of the slot is the size (compile.ts refuses another layout)
///   slot 1   root   bytes32, RFC 9162 root over the first `size` entries
/// The relay's address is immutable and lies in the code: who names this contract names its relay.
contract Anchor {
    /// Entries of the log that the newest anchor covers; 0 before the first anchor.
    uint64 public size;
    /// Root of the log at `size`.
    bytes32 public root;
    /// The one account that may submit.
    address public immutable relay;

    event Anchored(uint64 indexed oldSize, uint64 indexed newSize, bytes32 root);

    error NotRelay(address sender);
    /// Another root at the stored size: the relay shows two histories.
    error RootDiffers(uint64 storedSize, bytes32 storedRoot);
    /// Planned from another state than this one: plan again from what is stored.
    error OldSizeDiffers(uint64 storedSize);
    error SizeNotGrown(uint64 storedSize);

    constructor(address relay_) {
        relay = relay_;
    }

    /// Compare-and-swap of (size, root). The order of the rules is part of the format: a repeat is harmless even when
    /// it was planned from an older state, and a second history at the stored size is named as such first.
    function submit(uint64 oldSize, uint64 newSize, bytes32 newRoot) external {
        if (msg.sender != relay) revert NotRelay(msg.sender);
        uint64 storedSize = size;
        if (newSize == storedSize) {
            if (newRoot == root) return;
            revert RootDiffers(storedSize, root);
        }
        if (oldSize != storedSize) revert OldSizeDiffers(storedSize);
        if (newSize < storedSize) revert SizeNotGrown(storedSize);
        size = newSize;
        root = newRoot;
        emit Anchored(oldSize, newSize, newRoot);
    }

    /// Whether the entry with this leaf hash (a record's id) stands at `index` of the newest anchored log.
    /// RFC 9162 §2.1.3.2. The size is the stored one: a proof against another size could claim another tree's shape.
    function verifyInclusion(bytes32 leaf, uint64 index, bytes32[] calldata path) external view returns (bool) {
        uint256 treeSize = size;
        if (index >= treeSize) return false;
        uint256 position = index;
        uint256 last = treeSize - 1;
        bytes32 node = leaf;
        for (uint256 i = 0; i < path.length; i++) {
            if (last == 0) return false;
            if (position & 1 == 1 || position == last) {
                node = hashNode(path[i], node);
                while (position & 1 == 0 && position != 0) {
                    position >>= 1;
                    last >>= 1;
                }
            } else {
                node = hashNode(node, path[i]);
            }
            position >>= 1;
            last >>= 1;
        }
        return last == 0 && node == root;
    }

    /// SHA-256(0x01 ‖ left ‖ right) by the precompile at address 2.
    function hashNode(bytes32 left, bytes32 right) private view returns (bytes32 node) {
        assembly ("memory-safe") {
            // 65 bytes past the free-memory pointer: scratch that need not be allocated.
            let buffer := mload(0x40)
            mstore8(buffer, 1)
            mstore(add(buffer, 1), left)
            mstore(add(buffer, 33), right)
            if iszero(staticcall(gas(), 2, buffer, 65, 0, 32)) { revert(0, 0) }
            if iszero(eq(returndatasize(), 32)) { revert(0, 0) }
            node := mload(0)
        }
    }
}
