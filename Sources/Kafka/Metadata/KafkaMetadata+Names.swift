// Compares names of topics with those that exist.

internal import Platform

extension KafkaMetadata {
    /// The answers, with the nearest name of a topic that exists for each that does not, where brokers return the names in time.
    static func suggested(
        _ answers: [String: Result<Int, KafkaError>], _ client: Client, _ limit: UInt64
    ) -> [String: Result<Int, KafkaError>] {
        func isMissing(_ name: String) -> Bool {
            if case .failure(let error)? = answers[name] {
                error.code == .unknownTopic && !TopicPattern.isPattern(name)
            } else {
                false
            }
        }
        let missing = answers.keys.filter(isMissing)
        guard !missing.isEmpty,
            case .success(let all) = Result(catching: { () throws(KafkaError) in
                try TopicHandle.names(client, timeout: rest(until: limit))
            })
        else { return answers }
        let others = Set(all).subtracting(missing).sorted()
        return answers.merging(
            missing.compactMap { name in
                guard case .failure(let error)? = answers[name], let meant = Nearest.name(to: name, among: others) else {
                    return nil
                }
                let message = error.message + "; did you mean \(meant)?"
                return (
                    name,
                    .failure(
                        KafkaError(
                            code: error.code, kafkaCode: error.kafkaCode, message: message, isRetriable: error.isRetriable,
                            mayBePersisted: error.mayBePersisted))
                )
            }
        ) { $1 }
    }

    /// The topics that match an expression.
    static func names(_ all: [String], matching text: String) -> [String] {
        guard let pattern = try? TopicPattern(text) else { return [] }
        return all.filter { pattern.matches($0) }
    }
}
