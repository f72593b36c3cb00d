"""Models to steal: trained here, or anybody's, behind one call."""
