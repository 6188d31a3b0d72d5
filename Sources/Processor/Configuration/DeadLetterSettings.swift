// Declares the section `dead_letters`.

import Settings
import SluiceTables

struct DeadLetterSettings: Sendable {
    var keepFor = Duration.zero
    var keepRows = 0

    static let section = Section<DeadLetterSettings>(
        "dead_letters",
        help: "What is kept in sluice_dead_letters. A worker deletes the rest of its consumer group once a minute.",
        keys: [
            Key(
                "keep_for", \.keepFor, .duration(in: .zero ... .seconds(315_360_000)),
                help: "How long a dead letter is kept after its last attempt; 0: for ever.", reload: .live),
            Key(
                "keep_rows", \.keepRows, .int(in: 0...1_000_000_000),
                help: "The most dead letters that are kept, the latest ones; 0: all.", reload: .live),
        ])

    var limits: DeadLetterStore.Limits { DeadLetterStore.Limits(age: keepFor, rows: keepRows) }
}
