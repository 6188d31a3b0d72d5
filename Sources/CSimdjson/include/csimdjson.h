// A C interface of simdjson for Swift: parse a whole document, look up fields, read values. No policy.
#ifndef SLUICE_CSIMDJSON_H
#define SLUICE_CSIMDJSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define SJ_NOEXCEPT noexcept
extern "C" {
#else
#define SJ_NOEXCEPT
#endif

/// simdjson's version, such as "3.0.1".
const char *sj_version(void) SJ_NOEXCEPT;

/// A simdjson DOM parser and the document it parsed last. One thread at a time.
typedef struct sj_parser sj_parser;

/// Results of parsing a document.
enum {
    SJ_OK = 0,
    /// Not a JSON document, or one with numbers that simdjson cannot represent.
    SJ_REFUSED = 1,
    /// Longer than the parser accepts.
    SJ_TOO_LARGE = 2,
    /// Nested deeper than the parser accepts.
    SJ_TOO_DEEP = 3,
    SJ_NO_MEMORY = 4,
};

/// Types of an `sj_value`. SJ_ABSENT is 0, so that a zeroed value is an absent one.
enum {
    SJ_ABSENT = 0,
    SJ_NULL = 1,
    SJ_BOOL = 2,
    SJ_INT64 = 3,
    /// An integer above INT64_MAX.
    SJ_UINT64 = 4,
    SJ_DOUBLE = 5,
    SJ_STRING = 6,
    SJ_ARRAY = 7,
    SJ_OBJECT = 8,
};

/// One value of the parser's document. Valid until the parser parses again or is freed.
typedef struct {
    /// SJ_STRING: its unescaped UTF-8. SJ_ARRAY, SJ_OBJECT: internal. Otherwise NULL.
    const void *pointer;
    /// SJ_STRING: bytes. SJ_INT64, SJ_UINT64, SJ_DOUBLE: the bit pattern. SJ_BOOL: 0 or 1. SJ_ARRAY, SJ_OBJECT: internal.
    uint64_t bits;
    uint8_t type;
    /// The object has the name more than once; this is the first value.
    bool is_repeated;
    /// Where the value stands in the document, of a parser that locates values; see `sj_raw`. Otherwise 0.
    uint32_t token;
} sj_value;

/// The elements of an array, or the fields of an object, that have not been read yet.
typedef struct {
    const void *parser;
    uint64_t index;
    uint64_t end;
    uint32_t token;
} sj_elements;

/// The name of a field, or a word to compare with: unescaped UTF-8. One comparison of eight bytes decides in most cases.
typedef struct {
    const char *bytes;
    size_t length;
    /// The first eight bytes in memory order, zero after the name's end, and a mask of those that count.
    uint64_t head;
    uint64_t mask;
} sj_name;

/// A name over bytes that must stay valid.
sj_name sj_name_of(const char *bytes, size_t length) SJ_NOEXCEPT;

/// A parser for documents of at most `max_bytes` and `max_depth` levels; NULL when memory cannot be allocated.
/// `locates`: `sj_raw` is needed, which makes looking up fields slower.
sj_parser *sj_parser_new(size_t max_bytes, size_t max_depth, bool locates) SJ_NOEXCEPT;
void sj_parser_free(sj_parser *parser) SJ_NOEXCEPT;

/// Frees the parser's memory (about 14 times the largest document) if that document was larger than `bytes`. Values become invalid.
void sj_parser_shrink(sj_parser *parser, size_t bytes) SJ_NOEXCEPT;

/// Parses and validates a whole document, without a copy: at least 64 bytes after it must be readable; their content is not used. Sets `root`
/// when it returns SJ_OK.
int32_t sj_parse(sj_parser *parser, const void *document, size_t length, sj_value *root) SJ_NOEXCEPT;

/// Looks up `count` fields of an object in one pass over it. Writes one value per name to `values`, SJ_ABSENT where there is none. Fastest
/// with names in the order of the documents' fields. `object` must be an SJ_OBJECT.
void sj_find(const sj_value *object, const sj_name *names, size_t count, sj_value *values) SJ_NOEXCEPT;

/// The number of fields of an object, 16,777,215 at most. `object` must be an SJ_OBJECT.
size_t sj_count(const sj_value *object) SJ_NOEXCEPT;

/// The index of the word that an SJ_STRING is equal to; −1: none.
ptrdiff_t sj_word(const sj_value *string, const sj_name *words, size_t count) SJ_NOEXCEPT;

/// The element of an array at `index`; SJ_ABSENT beyond its end. `array` must be an SJ_ARRAY.
sj_value sj_at(const sj_value *array, size_t index) SJ_NOEXCEPT;

/// The elements of an array. `array` must be an SJ_ARRAY.
sj_elements sj_elements_of(const sj_value *array) SJ_NOEXCEPT;

/// Reads the next element; false after the last one.
bool sj_next(sj_elements *elements, sj_value *value) SJ_NOEXCEPT;

/// The fields of an object, as `sj_next_field` reads them. `object` must be an SJ_OBJECT.
sj_elements sj_fields_of(const sj_value *object) SJ_NOEXCEPT;

/// Reads the next field; false after the last one. `name` becomes an SJ_STRING.
bool sj_next_field(sj_elements *fields, sj_value *name, sj_value *value) SJ_NOEXCEPT;

/// Bytes of the document.
typedef struct {
    const void *bytes;
    size_t length;
} sj_text;

/// A value's own text in the document, of a parser that locates values: it has a `token`. The document's memory must be unchanged.
sj_text sj_raw(const sj_value *value, const sj_parser *parser) SJ_NOEXCEPT;

/// Makes the parser read texts from another document, of the same length as the parsed one, that differs from it only inside of numbers.
void sj_read_texts_from(sj_parser *parser, const void *document) SJ_NOEXCEPT;

/// Reads a number as JSON writes it, rounded once to the nearest value of the type. false: the text is something else. A number that is out of
/// the type's range becomes infinite or zero.
bool sj_read_float4(const void *text, size_t length, float *value) SJ_NOEXCEPT;
bool sj_read_float8(const void *text, size_t length, double *value) SJ_NOEXCEPT;

/// Writes the shortest text that is read as the same value, and returns its bytes: at most 32.
size_t sj_write_float4(float value, char *text) SJ_NOEXCEPT;
size_t sj_write_float8(double value, char *text) SJ_NOEXCEPT;

/// Whether bytes are valid UTF-8.
bool sj_is_utf8(const void *bytes, size_t length) SJ_NOEXCEPT;

#ifdef __cplusplus
}
#endif

#endif
