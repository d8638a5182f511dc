import { words } from "../../text/words.ts";

export const entryWords = words({
  bits: ["Bits of the {name} at {address}", "Bits de {name} en {address}", "{address} 处 {name} 的各位"],
  raw: ["Words, highest first", "Palabras, la más alta primero", "字（高位在前）"],
  bit: ["bit {bit} of {field}", "bit {bit} de {field}", "{field} 的第 {bit} 位"],
  value: ["Value of {field}", "Valor de {field}", "{field} 的值"],
  each: ["bit by bit", "bit a bit", "逐位"],
  reserved: ["Reserved bits", "Bits reservados", "保留位"],
  edited: ["Edited", "Editada", "已修改"],
  restore: ["Restore this entry", "Restaurar esta entrada", "恢复此表项"],
  map: ["Table at {table}: {count} rows, row {row} is used", "Tabla en {table}: {count} filas, se usa la fila {row}", "{table} 处的表：{count} 行，使用第 {row} 行"],
  mapShort: ["row {row} of {count}", "fila {row} de {count}", "第 {row} 行，共 {count} 行"],
  filled: ["{filled} rows are not empty", "{filled} filas no están vacías", "{filled} 行非空"],
});
