// The port to the decoder.

public import Records

/// Turns records into changes. Confined to the decode stage: one caller at a time.
public protocol RecordDecoder: Sendable {
    /// The changes of a batch, and the records that cannot be decoded. Never fails as a whole.
    func decode(_ batch: RecordBatch) -> ChangeBatch
}
