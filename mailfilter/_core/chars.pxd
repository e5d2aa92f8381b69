# Character classes of SMTP and of header fields, as one table of 256 bytes.
#
# Header only: a module that cimports this gets its own copy of the table, so that asking for the class
# of a byte is one load and one AND, whichever extension asks. A call into another extension for
# each byte would cost about four times as much.
#
# One bit for each class:
#   ATEXT        RFC 5321 §4.1.2, RFC 5322 §3.2.3: what an unquoted local part is made of (no dot)
#   LET_DIG      RFC 5321 §4.1.2: letters and digits; the underscore is in it too, because hosts with an
#                underscore in their name do send mail and every large receiver takes it
#   QTEXT        RFC 5321 §4.1.2 qtextSMTP: printable ASCII and space, without the quote and the backslash
#   DCONTENT     RFC 5321 §4.1.3: what a general address literal may hold after its tag
#   KEYWORD      RFC 5321 §4.1.2 esmtp-keyword: letters and digits (the hyphen is looked at by the parser)
#   VALUE        RFC 5321 §4.1.2 esmtp-value: printable ASCII without the equals sign
#   FTEXT        RFC 5322 §3.6.8: what the name of a header field is made of
#   UNPRINTABLE  controls but TAB: what a reply never carries
#
# Must not know: what a line, a command or an address is.

cdef extern from *:
    """
    #define CHAR_ATEXT 1
    #define CHAR_LET_DIG 2
    #define CHAR_QTEXT 4
    #define CHAR_DCONTENT 8
    #define CHAR_KEYWORD 16
    #define CHAR_VALUE 32
    #define CHAR_FTEXT 64
    #define CHAR_UNPRINTABLE 128

    static const unsigned char mailfilter_chars[256] __attribute__((unused)) = {
        128, 128, 128, 128, 128, 128, 128, 128, 128,   0, 128, 128, 128, 128, 128, 128,
        128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128,
          4, 109, 104, 109, 109, 109, 109, 109, 108, 108, 109, 109, 108, 109, 108, 109,
        127, 127, 127, 127, 127, 127, 127, 127, 127, 127,  44, 108, 108,  77, 108, 109,
        108, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127,
        127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 100,  96, 100, 109, 111,
        109, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127,
        127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 109, 109, 109, 109, 128,
          0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,
          0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,
          0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,
          0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,
          0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,
          0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,
          0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,
          0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0
    };

    #define char_is(c, classes) ((mailfilter_chars[(unsigned char)(c)] & (classes)) != 0)
    #define char_lower(c) ((char)((c) >= 'A' && (c) <= 'Z' ? (c) + 32 : (c)))
    #define char_upper(c) ((char)((c) >= 'a' && (c) <= 'z' ? (c) - 32 : (c)))
    """
    const int CHAR_ATEXT
    const int CHAR_LET_DIG
    const int CHAR_QTEXT
    const int CHAR_DCONTENT
    const int CHAR_KEYWORD
    const int CHAR_VALUE
    const int CHAR_FTEXT
    const int CHAR_UNPRINTABLE
    bint char_is(char c, int classes) noexcept nogil
    char char_lower(char c) noexcept nogil
    char char_upper(char c) noexcept nogil
