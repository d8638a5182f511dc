export { bit, bits, meaningOf, widthOf, type Field } from "./field.ts";
export { layout, type Getter, type Layout, type Values } from "./layout.ts";
