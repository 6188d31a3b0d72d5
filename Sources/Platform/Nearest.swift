// Owns the search for the known name nearest to a mistyped one.

/// Finds the known name next to a mistyped one.
public enum Nearest {
    /// The candidate with the fewest edits, if few enough: at most one for each three characters, at least one; `nil` otherwise.
    /// Of equally near candidates the first is taken.
    public static func name(to typed: String, among candidates: some Sequence<String>) -> String? {
        var best: (name: String, edits: Int)?
        for candidate in candidates {
            let limit = max(1, max(typed.utf8.count, candidate.utf8.count) / 3)
            let edits = distance(Array(typed.utf8), Array(candidate.utf8), atMost: min(limit, best.map { $0.edits - 1 } ?? limit))
            if let edits { best = (candidate, edits) }
        }
        return best?.name
    }

    /// Insertions, deletions, substitutions and swaps of neighbours that lead from `a` to `b` (optimal string alignment,
    /// https://en.wikipedia.org/wiki/Damerau–Levenshtein_distance); `nil` beyond `limit`.
    static func distance(_ a: [UInt8], _ b: [UInt8], atMost limit: Int) -> Int? {
        guard limit >= 0, abs(a.count - b.count) <= limit else { return nil }
        if a.isEmpty || b.isEmpty { return max(a.count, b.count) }
        var before: [Int] = []
        var above = Array(0...b.count)
        for i in 1...a.count {
            var row = [i]
            for j in 1...b.count {
                var edits = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1))
                if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] { edits = min(edits, before[j - 2] + 1) }
                row.append(edits)
            }
            if row.allSatisfy({ $0 > limit }) { return nil }
            (before, above) = (above, row)
        }
        return above[b.count] <= limit ? above[b.count] : nil
    }
}
