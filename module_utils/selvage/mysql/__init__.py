"""What is to be done with a cluster of MariaDB or MySQL servers, by what they said. Pure."""
