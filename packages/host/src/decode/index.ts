export { decodeInput, DecodeInputError, type DecodedInput } from "./decode-input.ts";
export { bitsKindOf, BITS_KINDS, isKind, KIND_LIST, type BitsKind } from "./decode-kinds.ts";
