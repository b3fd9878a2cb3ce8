// The certificate writer: a prepared template per issuer (see ca/), TBS with poison, TBS without
// (what CT signs), TBS with the SCT list. Owned by the ca author.
