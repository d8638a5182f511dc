import ts from "typescript";

/** The call that counts. */
const TICK = "__tick";

const tick = (factory: ts.NodeFactory): ts.Statement => factory.createExpressionStatement(factory.createCallExpression(factory.createIdentifier(TICK), undefined, []));

const counted = (factory: ts.NodeFactory, body: ts.Statement): ts.Block => factory.createBlock([tick(factory), ...(ts.isBlock(body) ? body.statements : [body])], true);

/** Puts a count into every turn of a loop and every call of a function. */
const counting: ts.TransformerFactory<ts.SourceFile> = (context) => {
  const { factory } = context;
  const body = (block: ts.ConciseBody): ts.Block => (ts.isBlock(block) ? counted(factory, block) : factory.createBlock([tick(factory), factory.createReturnStatement(block)]));
  const visit = (node: ts.Node): ts.Node => {
    const seen = ts.visitEachChild(node, visit, context);
    if (ts.isForStatement(seen)) return factory.updateForStatement(seen, seen.initializer, seen.condition, seen.incrementor, counted(factory, seen.statement));
    if (ts.isForOfStatement(seen)) return factory.updateForOfStatement(seen, seen.awaitModifier, seen.initializer, seen.expression, counted(factory, seen.statement));
    if (ts.isForInStatement(seen)) return factory.updateForInStatement(seen, seen.initializer, seen.expression, counted(factory, seen.statement));
    if (ts.isWhileStatement(seen)) return factory.updateWhileStatement(seen, seen.expression, counted(factory, seen.statement));
    if (ts.isDoStatement(seen)) return factory.updateDoStatement(seen, counted(factory, seen.statement), seen.expression);
    if (ts.isFunctionDeclaration(seen) && seen.body) return factory.updateFunctionDeclaration(seen, seen.modifiers, seen.asteriskToken, seen.name, seen.typeParameters, seen.parameters, seen.type, body(seen.body));
    if (ts.isFunctionExpression(seen)) return factory.updateFunctionExpression(seen, seen.modifiers, seen.asteriskToken, seen.name, seen.typeParameters, seen.parameters, seen.type, body(seen.body));
    if (ts.isArrowFunction(seen)) return factory.updateArrowFunction(seen, seen.modifiers, seen.typeParameters, seen.parameters, seen.type, seen.equalsGreaterThanToken, body(seen.body));
    if (ts.isMethodDeclaration(seen) && seen.body) return factory.updateMethodDeclaration(seen, seen.modifiers, seen.asteriskToken, seen.name, seen.questionToken, seen.typeParameters, seen.parameters, seen.type, body(seen.body));
    return seen;
  };
  return (file) => ts.visitNode(file, visit, ts.isSourceFile);
};

/** An experiment as JavaScript that asks `require` for its modules and counts what it does. Errors of types do not stop it. */
export const compile = (source: string): string =>
  ts.transpileModule(source, { compilerOptions: { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.CommonJS, removeComments: true }, transformers: { before: [counting] } }).outputText;
