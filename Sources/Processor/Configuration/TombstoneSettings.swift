// Declares the section `tombstones`.

import Settings

struct TombstoneSettings: Sendable {
    var keepFor = Duration.seconds(7 * 86_400)

    static let section = Section<TombstoneSettings>(
        "tombstones",
        help:
            "What is kept in sluice_tombstones for mappings with a version. A worker deletes the rest of its tables once a minute.",
        keys: [
            Key(
                "keep_for", \.keepFor, .duration(in: .zero ... .seconds(315_360_000)),
                help:
                    "How long it is known that a row was deleted, and at which version; 0: for ever. An older event that comes later "
                    + "inserts the row again.", reload: .live)
        ])
}
