// The port between bytes and changes.

public import Records

/// Turns records into changes. Confined to the decode stage: one caller at a time.
public protocol RecordDecoder: Sendable {
    /// The changes of a batch, and the records that are none. Never fails as a whole.
    func decode(_ batch: RecordBatch) -> ChangeBatch
}
