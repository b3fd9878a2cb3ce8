// A browser without a person, for sign-ins: follows redirects, keeps cookies, submits the forms
// that it is shown (unless they ask for a name), and prints the status and text of the last page.
//
//   browser.mjs [NAME=VALUE | decline]... URL
//
// NAME=VALUE stands for somebody between provider and client: it replaces that parameter on the
// way back to the client's own address (an empty VALUE takes it out). `decline` aborts where a form
// asks for a confirmation.
import { step } from './step.mjs';

const wishes = process.argv.slice(2, -1);
const decline = wishes.includes('decline');
const forged = wishes.filter((wish) => wish.includes('=')).map((wish) => wish.split('='));
const CALLBACK = '/auth/callback';
const MOST_STEPS = 20;

/** The first form of a page: where it goes, and what is hidden in it. */
function formIn(page) {
  const action = /<form[^>]* action="([^"]*)"/.exec(page)?.[1];
  if (!action) return undefined;
  const inputs = page.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"/g);
  const fields = Object.fromEntries([...inputs].map(([, name, value]) => [name, value]));
  if (decline && 'confirm' in fields) {
    delete fields.confirm;
    fields.abort = 'yes';
  }
  return { action, fields };
}

/** Where the provider sent us; if that is back to the client, not without our changes. */
async function onTheWay(location, from) {
  const url = new URL(location, from);
  if (url.pathname !== CALLBACK) return url.href;
  // As browsers do, at a time of their own.
  await step(new URL('/favicon.ico', url).href);
  for (const [name, value] of forged) {
    if (value) url.searchParams.set(name, value);
    else url.searchParams.delete(name);
  }
  return url.href;
}

let url = process.argv.at(-1);
let form;
for (let n = 0; n < MOST_STEPS; n += 1) {
  const response = await step(url, form?.fields);
  form = undefined;
  const location = response.headers.get('location');
  if (location !== null) {
    url = await onTheWay(location, url);
    continue;
  }
  const page = await response.text();
  form = formIn(page);
  if (!form || !response.ok) {
    console.log(response.status, page);
    process.exit(response.ok ? 0 : 1);
  }
  url = new URL(form.action, url).href;
}
throw new Error(`no last page after ${MOST_STEPS} steps`);
