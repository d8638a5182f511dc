export { decodeBits, hex, requesterText, wordsOf, type Decoded, type DecodedStructure, type Fact, type FieldValue, type Finding, type Interpretation, type Told } from "./decoded.ts";
export { big, lineOf, linesOf, type LineFormat, type LineResult } from "./log-line.ts";
