// Puts the mappings' decoders behind the pipeline's port.

import Decode
import Pipeline
import Records

/// The decoders of the decode stage.
struct StageDecoder: RecordDecoder, @unchecked Sendable {
    // Licence for @unchecked: a Decoder is used by one task at a time. The decode stage calls it from one child task only
    // (RecordDecoder's contract).
    private let decoders: [Decoder]
    private let routes: TopicRoutes

    /// - Parameter routes: which of the mappings is a topic's.
    init(_ mappings: [Mapping], routes: TopicRoutes) {
        decoders = mappings.map { Decoder(mapping: $0) }
        self.routes = routes
    }

    func decode(_ batch: RecordBatch) -> DecodeResult {
        guard let mapping = routes.mapping(of: batch.source.topic) else {
            preconditionFailure("records of \(batch.source) were read, which is no mapping's")
        }
        return .decoded(decoders[mapping].decode(batch))
    }
}
