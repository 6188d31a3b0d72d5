// Proves how the limits on requests are written, what is said about wrong ones, and that the shipped ones leave the README's commands alone.

import Backpressure
import Foundation
import Settings
import TestSupport
import Testing

@testable import Admission
@testable import sluice

private func survey(_ text: String) throws -> (settings: LimitsSettings, faults: [String]) {
    let file = try YAML.parse(text: text, file: "sluice.yaml")
    let (settings, faults) = Configuration.survey(file, [:])
    let more = settings.value.limits.policyFaults(settings.origin(of: "limits.policies"))
    return (settings.value.limits, (faults + more).map(\.description))
}

@Suite struct PolicySettingsTests {
    @Test func policiesAreReadAsTheyAreWritten() throws {
        let (settings, faults) = try survey(
            """
            limits:
              policies:
                - {name: burst, key: client, unit: requests, bucket: {rate: 1000, burst: 2000}}
                - {name: quota, key: global, unit: events, window: {limit: 1000000, seconds: 60}, shadow: true}
              max_keys: 5000
              key_idle: 2m
            """)
        #expect(faults == [])
        #expect(
            settings.requests
                == RateLimits(
                    policies: [
                        RateLimitPolicy("burst", key: .client, unit: .requests, .bucket(.init(rate: 1_000, burst: 2_000))),
                        RateLimitPolicy(
                            "quota", key: .global, unit: .events, .window(.init(amount: 1_000_000, span: 60_000_000_000)),
                            isShadow: true),
                    ], maxKeys: 5_000, keyIdle: 120_000_000_000))
        #expect(try survey("limits: {policies: []}").settings.requests.policies.isEmpty)
    }

    @Test func moreClientsThanThereIsMemoryForAreRefused() throws {
        let windows = (0..<16).map { "{name: p\($0), key: client, unit: events, window: {limit: 5, seconds: 5}}" }
        let text = "limits: {max_keys: 4000000, policies: [\(windows.joined(separator: ", "))]}"
        let faults = try survey(text).faults
        #expect(faults.count == 1)
        #expect(faults.first?.contains("limits.max_keys: is 4000000, which with these policies may take") == true, "\(faults)")
        #expect(try survey("limits: {max_keys: 4000000}").faults == [])
    }

    @Test(arguments: [
        ("{key: client, unit: bytes, bucket: {rate: 1, burst: 1}}", "policies[0].name: is not set"),
        ("{name: a b, key: client, unit: bytes, bucket: {rate: 1, burst: 1}}", "letters, digits"),
        ("{name: a, key: user, unit: bytes, bucket: {rate: 1, burst: 1}}", "must be global, client or route, is user"),
        ("{name: a, key: client, unit: byte, bucket: {rate: 1, burst: 1}}", "did you mean bytes?"),
        ("{name: a, key: client, unit: bytes}", "must come with a bucket {rate, burst} or a window {limit, seconds}"),
        (
            "{name: a, key: client, unit: bytes, bucket: {rate: 1, burst: 1}, window: {limit: 1, seconds: 1}}",
            "and not with both"
        ),
        ("{name: a, key: client, unit: bytes, bucket: {rate: 0, burst: 5}}", "must be a rate of at least 0.000001"),
        ("{name: a, key: client, unit: bytes, bucket: {rate: -1, burst: 5}}", "policies[0].bucket.rate: must be between 0"),
        ("{name: a, key: client, unit: bytes, bucket: {rate: 5}}", "with a burst of at least 1"),
        (
            "{name: a, key: client, unit: bytes, window: {limit: 5, seconds: 3000000}}",
            "must be between 0 and 2592000, is 3000000"
        ),
        ("{name: a, key: client, unit: bytes, window: {limit: 5}}", "with at least 1 second"),
        ("{name: a, key: client, unit: bytes, window: {limit: 5, second: 1}}", "did you mean limits.policies[0].window.seconds?"),
    ])
    func wrongOnesAreNamedWithTheRemedy(policy: String, sentence: String) throws {
        let faults = try survey("limits: {policies: [\(policy)]}").faults
        #expect(faults.contains { $0.contains(sentence) }, "\(faults)")
        #expect(faults.allSatisfy { $0.contains("limits.policies[0]") }, "\(faults)")
    }

    @Test func everyPolicyNeedsANameOfItsOwn() throws {
        let one = "{name: a, key: client, unit: bytes, bucket: {rate: 1, burst: 1}}"
        let faults = try survey("limits: {policies: [\(one), \(one)]}").faults
        #expect(faults.count == 1)
        #expect(faults[0].contains("limits.policies[1].name: is a, the name of limits.policies[0], too; give each policy a name"))
        let many = (0..<33).map { "{name: p\($0), key: client, unit: bytes, bucket: {rate: 1, burst: 1}}" }.joined(
            separator: ", ")
        #expect(
            try survey("limits: {policies: [\(many)]}").faults == [
                "sluice.yaml:1: limits.policies: must be at most 32 policies, are 33; remove some"
            ])
    }

    @Test func everyKeyOfThemIsLive() throws {
        var fresh = SluiceSettings()
        fresh.limits.policies = []
        fresh.limits.maxKeys = 77
        fresh.limits.keyIdle = .seconds(7)
        fresh.limits.headers = false
        fresh.limits.retryJitter = 1
        fresh.http.trustedProxies = [try #require(IPNetwork("10.0.0.0/8"))]
        let adopted = try SluiceSettings.schema.adopting(fresh, into: SluiceSettings())
        #expect(adopted.limits.requests == fresh.limits.requests)
        #expect(!adopted.limits.headers)
        #expect(adopted.limits.retryJitter == 1)
        #expect(adopted.http.trustedProxies == fresh.http.trustedProxies)
    }

    /// One client on loopback: 20,000 events a second for 30 s, one event a request, and the same again right behind it.
    @Test func theShippedLimitsDoNotRefuseTheLoadOfTheReadme() {
        var machine = RateLimitMachine(LimitsSettings().requests)
        let client = RateLimitKey(address: 1, isIPv6: false)
        var now: UInt64 = 0
        for round in 0..<12_000 {
            // A hundred requests; an open loop that comes in bursts of a tenth of a second.
            if round % 20 == 0 { now += 100_000_000 }
            let decision = machine.requested(client, RateLimitCost(requests: 100, events: 100, bytes: 20_000), now: now)
            guard decision.verdict == .admitted else {
                Issue.record("refused at \(round)")
                return
            }
        }
    }
}
