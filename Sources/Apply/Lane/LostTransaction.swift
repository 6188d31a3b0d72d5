// Owns what a lane remembers of a transaction whose outcome is unknown.

import Postgres
import Records
import SluiceTables

/// A transaction whose connection was lost, with the records it has of each partition.
struct LostTransaction {
    let advances: [OffsetAdvance]
    let records: [TopicPartition: Int]
    /// What the loss says of its size; `nil`: nothing.
    let tooLarge: PostgresError?
}
