export { decodeDmarUnits, type DmarPathStep, type DmarProblem, type DmarScope, type DmarUnit, type DmarUnits } from "./decode.ts";
