export { decodeIvrsUnits, type Ivhd, type IvhdRange, type IvrsProblem, type IvrsUnits } from "./decode.ts";
