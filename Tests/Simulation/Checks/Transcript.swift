// The transcript of a schedule: a hash of every step, lines if they are wanted, and counts of the situations that occurred.

import Glibc

/// The kinds of steps; the transcript's hash is made of them and their numbers.
enum Mark: UInt64 {
    case job = 1
    case reader, advance, command, read, claim, apply, write, settle, rival, group, fault, event, phase, end
}

/// Situations that can occur in a schedule.
enum Met: Int, CaseIterable {
    case transactions, rebalances, losses, fences, stops, lostPositions, pauses, resumes, retries, circuitOpenings
    case completeDrains, incompleteDrains, failedClaims, lateClaims, unknownOutcomes, lateCommits, refusedZombies, halves, waits,
        parks
    case debts, cancellations, shutdowns, sourceDeaths, stalls, secondLives, operatorPauses, reloads
    case stragglers, unwantedClaims
    case brokersDown, refusedSeeks, purgedErrors, restarts, endsReached, topicsMadeAnew, otherLogs
}

/// Counts of situations, to check that schedules cover what they should.
struct Coverage {
    private var counts = [Int](repeating: 0, count: Met.allCases.count)

    subscript(what: Met) -> Int { counts[what.rawValue] }
    mutating func met(_ what: Met) { counts[what.rawValue] += 1 }
    mutating func add(_ other: Coverage) { for index in counts.indices { counts[index] += other.counts[index] } }
}

struct Transcript {
    private(set) var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    private(set) var lines: [String] = []
    let isKept: Bool
    /// Lines are printed at once, because a schedule may end the process.
    let isPrinted: Bool

    init(isKept: Bool, isPrinted: Bool = false) {
        self.isKept = isKept
        self.isPrinted = isPrinted
    }

    mutating func mix(_ value: UInt64) {
        hash = (hash ^ value) &* 0x100_0000_01b3
        hash ^= hash >> 29
    }

    mutating func note(_ mark: Mark, at now: UInt64, _ a: Int64, _ b: Int64, _ text: () -> String) {
        mix(mark.rawValue << 56 ^ now)
        mix(UInt64(bitPattern: a))
        mix(UInt64(bitPattern: b))
        guard isKept else { return }
        let microseconds = now / 1_000
        let fraction = "\(microseconds % 1_000 + 1_000)".dropFirst()
        let line = text()
        guard !line.isEmpty else { return }
        lines.append("\(microseconds / 1_000).\(fraction)  \(line)")
        if isPrinted {
            print(lines[lines.count - 1])
            fflush(nil)
        }
    }
}
