import { library } from "../../tsup.preset.ts";

export default library("src/ivrs/index.ts");
