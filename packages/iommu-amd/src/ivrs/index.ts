export { decodeIvrsUnits, type Ivhd, type IvhdRange, type IvrsUnits } from "./decode.ts";
