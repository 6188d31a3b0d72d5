// Puts the mappings' decoders behind the pipeline's port.

import Decode
import Pipeline
import Records

/// The decoders of the decode stage.
struct StageDecoder: RecordDecoder, @unchecked Sendable {
    // Licence for @unchecked: a Decoder is used by one task at a time. The decode stage calls it from one child task only
    // (RecordDecoder's contract).
    private let decoders: [String: Decoder]

    /// - Parameter mappings: no topic is in two of them.
    init(_ mappings: [Mapping]) {
        var decoders: [String: Decoder] = [:]
        for mapping in mappings {
            let decoder = Decoder(mapping: mapping)
            for topic in mapping.topics { decoders[topic] = decoder }
        }
        self.decoders = decoders
    }

    func decode(_ batch: RecordBatch) -> ChangeBatch {
        guard let decoder = decoders[batch.source.topic] else {
            preconditionFailure("records of \(batch.source) were read, which no mapping names")
        }
        return decoder.decode(batch)
    }
}
