import { library } from "../../tsup.preset.ts";

export default library("src/dmar/index.ts");
