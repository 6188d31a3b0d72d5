// Owns sorting by key: a stable radix sort on prefixes of keys, because comparisons would cost more than the rest of a batch's work.

/// A position in the sequence with the prefix of its key.
struct SortEntry {
    let prefix: UInt64
    let position: UInt32
}

/// Sorts positions by key prefix, stably, so positions of one key stay in sequence order.
///
/// Least significant digit first, eight bits a pass (Knuth, The Art of Computer Programming 3, 5.2.5). Bytes in which all prefixes
/// agree take no pass.
struct KeySorter: ~Copyable {
    private var entries: ContiguousArray<SortEntry> = []
    private var differing: UInt64 = 0

    init(capacity: Int) { entries.reserveCapacity(capacity) }

    @inline(__always)
    mutating func append(prefix: UInt64, position: UInt32) {
        if let first = entries.first { differing |= first.prefix ^ prefix }
        entries.append(SortEntry(prefix: prefix, position: position))
    }

    func withEntries<R>(_ body: (UnsafeBufferPointer<SortEntry>) -> R) -> R { entries.withUnsafeBufferPointer(body) }

    mutating func sort() {
        guard differing != 0 else { return }
        let count = entries.count
        let differing = differing
        withUnsafeTemporaryAllocation(of: SortEntry.self, capacity: count) { spare in
            withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 256) { starts in
                entries.withUnsafeMutableBufferPointer { entries in
                    var from = entries.baseAddress!
                    var to = spare.baseAddress!
                    var shift: UInt64 = 0
                    while shift < 64 {
                        defer { shift += 8 }
                        guard (differing >> shift) & 0xFF != 0 else { continue }
                        starts.initialize(repeating: 0)
                        for index in 0..<count { starts[Int((from[index].prefix >> shift) & 0xFF)] += 1 }
                        var total: UInt32 = 0
                        for digit in 0..<256 {
                            let here = starts[digit]
                            starts[digit] = total
                            total += here
                        }
                        for index in 0..<count {
                            let digit = Int((from[index].prefix >> shift) & 0xFF)
                            to[Int(starts[digit])] = from[index]
                            starts[digit] += 1
                        }
                        swap(&from, &to)
                    }
                    if from != entries.baseAddress! { entries.baseAddress!.update(from: from, count: count) }
                }
            }
        }
    }

    /// Sorts within each run of equal prefixes, by `compare` and then by position.
    mutating func refine(_ compare: (UInt32, UInt32) -> Int) {
        entries.withUnsafeMutableBufferPointer { entries in
            var start = 0
            while start < entries.count {
                var end = start + 1
                while end < entries.count, entries[end].prefix == entries[start].prefix { end += 1 }
                if end - start > 1 {
                    var run = UnsafeMutableBufferPointer(rebasing: entries[start..<end])
                    run.sort { a, b in
                        let order = compare(a.position, b.position)
                        return order != 0 ? order < 0 : a.position < b.position
                    }
                }
                start = end
            }
        }
    }
}
