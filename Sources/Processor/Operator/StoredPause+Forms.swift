// Converts stored pauses and stopped partitions for the pipeline and for HTTP responses.

import HTTPServer
import Pipeline
import Records
import SluiceTables

extension StoredPause {
    /// As the pipeline takes it.
    var operatorPause: OperatorPause { OperatorPause(topic: scope.topic, partition: scope.partition, reason: reason) }

    /// As `GET /admin/pauses` shows it.
    var json: JSONValue {
        [
            "topic": scope.topic.map(JSONValue.string) ?? nil,
            "partition": scope.partition.map { .integer(Int($0)) } ?? nil,
            "reason": .string(reason), "paused_by": .string(pausedBy), "paused_at": .string(pausedAt),
        ]
    }
}

extension PipelineSnapshot.Stopped {
    /// As `/admin/retry` shows it.
    var json: JSONValue {
        [
            "topic": .string(source.topic), "partition": .integer(Int(source.partition)), "reason": .string(reason.kind.rawValue),
            "message": .string(reason.description),
        ]
    }
}
