export { decodeDmarUnits, type DmarPathStep, type DmarScope, type DmarUnit, type DmarUnits } from "./decode.ts";
