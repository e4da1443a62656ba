// `npm start`: install, build, then `settle dev` with the arguments given after `--`.
import { compile } from './lib/build.mjs';
import { run } from './lib/child.mjs';
import { Failure, main } from './lib/failure.mjs';
import { install } from './lib/install.mjs';
import { underSuitableNode } from './lib/node.mjs';
import { serverMain } from './lib/paths.mjs';

await main(async () => {
  const args = await underSuitableNode();
  await install();
  if ((await compile()) !== 0) throw new Failure('the build failed, for the reasons above');
  // In a group of its own it hears Ctrl-C once, from us, and has the time to finish its last check.
  return run(process.execPath, [serverMain, 'dev', ...args], { ownGroup: true });
});
