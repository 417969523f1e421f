// Puts the token of a sign-in link from behind the # into the form, and takes it out of the address.

const field = document.getElementById("id_token");
if (field && location.hash.length > 1) {
  field.value = decodeURIComponent(location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
}
