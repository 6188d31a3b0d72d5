// Proves which mapping a topic belongs to.

import Decode
import Platform
import Testing

@Suite struct TopicRoutesTests {
    @Test func namesGoBeforeExpressions() {
        let routes = TopicRoutes([["^shop\\..*", "orders"], ["shop.returns", "^eu\\.(orders|items)$"]])
        let owners = [
            "shop.orders": 0, "orders": 0, "shop.returns": 1, "eu.items": 1, "eu.items.old": nil, "a.shop.b": nil,
            "shopping": nil,
        ]
        for (topic, owner) in owners {
            #expect(routes.mapping(of: topic) == owner, "\(topic)")
            #expect(routes.mapping(of: topic) == owner, "\(topic), from memory")
            #expect(routes.conflict(over: topic) == nil)
        }
    }

    @Test func aTopicThatTwoExpressionsMatchIsAConflict() {
        let routes = TopicRoutes([["^a", "^ab"], ["^.b", "abc"]])
        #expect(routes.conflict(over: "ab") == [0, 1])
        #expect(routes.conflict(over: "abc") == nil, "one of them names it")
        #expect(routes.mapping(of: "abc") == 1)
        #expect(routes.conflict(over: "a") == nil && routes.mapping(of: "a") == 0)
    }

    @Test func whatIsNoExpressionHasAReason() {
        let fault = #expect(throws: TopicPattern.Fault.self) { try TopicPattern("^(a") }
        #expect(fault?.description.isEmpty == false)
        // glibc takes \d for the letter: such an expression would match nothing, in silence.
        for (text, reason) in [
            ("^shop\\d+", "\\d means the letter d; a digit is [0-9]"), ("^\\p{Alpha}", "\\p means the letter p"),
            ("^a\\.b\\w", nil), ("^a\\\\d", nil),
        ] {
            do throws(TopicPattern.Fault) {
                _ = try TopicPattern(text)
                #expect(reason == nil, "\(text)")
            } catch {
                #expect(error.description == reason, "\(text)")
            }
        }
        #expect(TopicPattern.isPattern("^a") && !TopicPattern.isPattern("a^"))
        #expect(
            faults(
                "topics: ['^(a', '^b']\ntable: t\nkey: id\naction: {path: /a, create: c}\ncolumns: {id: {path: /i, type: int4}}"
            )
            .count == 1)
    }
}
