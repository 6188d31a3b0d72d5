// The port to the decoder.

public import Records

/// What a decoder makes of a batch.
public enum DecodeResult: Sendable {
    /// The changes, and the records that cannot be decoded.
    case decoded(ChangeBatch)
    /// The decoder lacks something that is on its way, such as a schema: one sentence on what. The partition is parked: its batches are
    /// dropped, and it is claimed and read again after a back-off. Others go on.
    case notNow(reason: String)
}

/// Turns records into changes. Confined to the decode stage: one caller at a time, on the thread that polls Kafka. So it never waits: what
/// it lacks it lets others fetch, answers `notNow` meanwhile, and is asked again.
public protocol RecordDecoder: Sendable {
    /// Decodes a batch. Never fails as a whole.
    func decode(_ batch: RecordBatch) -> DecodeResult
}
