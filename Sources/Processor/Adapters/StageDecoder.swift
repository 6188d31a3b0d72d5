// Puts the decoder behind the pipeline's port.

import Decode
import Pipeline
import Records

/// The decoder of the decode stage.
struct StageDecoder: RecordDecoder, @unchecked Sendable {
    // Licence for @unchecked: a Decoder is used by one task at a time. The decode stage calls it from one child task only
    // (RecordDecoder's contract).
    private let decoder: Decoder

    init(mapping: Mapping) { decoder = Decoder(mapping: mapping) }

    func decode(_ batch: RecordBatch) -> ChangeBatch { decoder.decode(batch) }
}
