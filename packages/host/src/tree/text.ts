/** The Encoding standard is in every host of JavaScript, but neither in ECMAScript's own library nor free of DOM typings. */
declare class TextDecoder {
  decode(bytes: Uint8Array): string;
}
declare class TextEncoder {
  encode(text: string): Uint8Array;
}

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** UTF-8 bytes as text; bytes that are no UTF-8 become U+FFFD. */
export const toText = (bytes: Uint8Array): string => decoder.decode(bytes);
/** Text as UTF-8 bytes. */
export const toBytes = (text: string): Uint8Array => encoder.encode(text);
